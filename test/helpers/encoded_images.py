"""Image messages in every encoding, and images as files."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.ros.io.image_decoding import ENCODINGS

CHANNEL_ORDERS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "8UC3": (2, 1, 0),
    "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3),
    "8UC4": (2, 1, 0, 3),
    "mono8": (0,),
    "8UC1": (0,),
    "mono16": (0,),
    "16UC1": (0,),
    "rgb16": (0, 1, 2),
    "bgr16": (2, 1, 0),
    "rgba16": (0, 1, 2, 3),
    "bgra16": (2, 1, 0, 3),
    "16UC3": (2, 1, 0),
    "16UC4": (2, 1, 0, 3),
}
"""The channels of R, G, B and alpha for each sample of a pixel."""


PACKED_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUYV", "yuyv": "YUYV"}


SEMI_PLANAR_YUV = {"nv12": "UV", "nv21": "VU", "nv24": "UV"}


BAYER = [encoding for encoding in ENCODINGS if encoding.startswith("bayer")]


def picture(height: int, width: int) -> np.ndarray:
    """A smooth image: red increases to the right, green upward, blue downward; exact up to 30x30."""
    y, x = np.mgrid[:height, :width]
    return np.stack([20 + 2 * x, 150 - 2 * y, 220 - y], axis=2).clip(0, 255).astype(np.uint8)


def yuv(rgb: np.ndarray) -> np.ndarray:
    """Y, U, V as float64 (H, W, 3): BT.601 with Y from 16 to 235."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    return rgb @ matrix.T + [16, 128, 128]


def as_bytes(samples: np.ndarray) -> np.ndarray:
    return samples.round().astype(np.uint8)


def mosaic(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """For each pixel, the color at its position in the pattern."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    pattern = np.array(["rgb".index(letter) for letter in encoding.split("_")[1][:4]])
    return rgb[y, x, pattern[2 * (y % 2) + x % 2]]


def rows_of(rgb: np.ndarray, encoding: str, big_endian: bool) -> np.ndarray:
    """The bytes of each row, without padding."""
    height, width = rgb.shape[:2]
    if encoding in PACKED_YUV:
        samples = yuv(rgb)
        packed = np.empty((height, width // 2, 4), np.uint8)
        for index, letter in enumerate(PACKED_YUV[encoding]):
            plane = samples[..., "YUV".index(letter)]
            second = PACKED_YUV[encoding][:index].count("Y")
            packed[..., index] = as_bytes(
                plane[:, second::2] if letter == "Y" else (plane[:, ::2] + plane[:, 1::2]) / 2
            )
        return packed.reshape(height, -1)
    if encoding in SEMI_PLANAR_YUV:
        samples = yuv(rgb)
        chroma = samples[..., ["YUV".index(letter) for letter in SEMI_PLANAR_YUV[encoding]]]
        if encoding != "nv24":
            chroma = chroma.reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
        return as_bytes(np.concatenate([samples[..., 0].ravel(), chroma.ravel()])).reshape(-1, width)
    if encoding in BAYER:
        samples = mosaic(rgb, encoding)[..., np.newaxis]
    else:
        rgba = np.concatenate([rgb, np.full((height, width, 1), 77, np.uint8)], axis=2)
        samples = rgba[..., CHANNEL_ORDERS[encoding]]
    if encoding.endswith("16") or encoding.startswith("16"):
        noise = np.random.default_rng(3).integers(0, 256, samples.shape, np.uint8)
        samples = np.stack([samples, noise] if big_endian else [noise, samples], axis=-1)
    return np.ascontiguousarray(samples).reshape(height, -1)


def image_message(
    rgb: np.ndarray, encoding: str, padding: int = 0, whole_last_row: bool = True, big_endian: bool = False
) -> Image:
    """An Image of these pixels, with this many padding bytes after each row (nv24: each half row of its colors)."""
    rows = rows_of(rgb, encoding, big_endian)
    if encoding == "nv24" and padding:  # a row of colors takes two steps, and the padding lies behind both
        height = len(rgb)
        luma = np.pad(rows[:height], ((0, 0), (0, padding)), constant_values=99)
        chroma = np.pad(rows[height:].reshape(height, -1), ((0, 0), (0, 2 * padding)), constant_values=99)
        rows = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(-1, luma.shape[1])
    else:
        rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    data = rows.tobytes()
    message = Image(height=len(rgb), width=rgb.shape[1], encoding=encoding, step=rows.shape[1])
    message.is_bigendian = int(big_endian)
    message.data.frombytes(data if whole_last_row else data[: len(data) - padding])
    return message


def compressed_message(data: bytes, image_format: str = "jpeg") -> CompressedImage:
    message = CompressedImage(format=image_format)
    message.data.frombytes(data)
    return message


def file_of(pixels: np.ndarray, kind: str) -> bytes:
    """A file of gray or RGB pixels."""
    written, data = cv2.imencode(f".{kind}", pixels if pixels.ndim == 2 else pixels[..., ::-1])
    assert written
    return data.tobytes()


CONVERTED = [*PACKED_YUV, *SEMI_PLANAR_YUV, *BAYER]
PHOTOGRAPH = np.clip(picture(120, 160).astype(int) + np.random.default_rng(7).integers(-20, 21, (120, 160, 3)), 0, 255)


def jpeg_of(rgb: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", rgb[..., ::-1], list(options))[1].tobytes()


def with_segment(jpeg: bytes, marker: int, payload: bytes) -> bytes:
    """A JPEG with another segment at its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(payload)) + payload + jpeg[2:]


def without_tables(jpeg: bytes) -> bytes:
    """A JPEG as webcams send it: Motion JPEG omits the standard Huffman tables."""
    kept, position = jpeg[:2], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + struct.unpack_from(">H", jpeg, position + 2)[0]
        kept += b"" if jpeg[position + 1] == 0xC4 else jpeg[position:end]
        position = end
    return kept + jpeg[position:]


JPEGS = {
    "baseline": jpeg_of(PHOTOGRAPH),
    "progressive": jpeg_of(PHOTOGRAPH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": jpeg_of(PHOTOGRAPH, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "gray": cv2.imencode(".jpg", PHOTOGRAPH[..., 0])[1].tobytes(),
    "thumbnail": with_segment(jpeg_of(PHOTOGRAPH), 0xE1, b"Exif\0\0" + file_of(picture(24, 30), "jpeg")),
    "motion JPEG": without_tables(jpeg_of(PHOTOGRAPH)),
    "filled": jpeg_of(PHOTOGRAPH)[:-2] + b"\xff\xff\xff\xd9",
}
