"""Image messages of every encoding as RGB; an arbitrary message is decoded or rejected."""

from __future__ import annotations

import struct
import sys
import tracemalloc
import types
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from encoded_images import (
    BAYER,
    CHANNEL_ORDERS,
    CONVERTED,
    JPEGS,
    PHOTOGRAPH,
    compressed_message,
    file_of,
    image_message,
    jpeg_of,
    mosaic,
    picture,
    with_segment,
)
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.images.compressed_files import extent_of_file
from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.ros.io import image_decoding
from depth_anything_ros.ros.io.image_decoding import ENCODINGS, MAX_PIXELS, BadImageError, ImageDecoder, check_image

MAX_ALLOCATED = 1_000_000
FULL = InputRange("full")
"""Gives the high byte of 16 bits, whatever the image is like."""


@pytest.fixture(autouse=True, scope="module")
def no_cv_bridge():
    """Hide cv_bridge, which knows further encodings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cv_bridge", None)
        image_decoding._cv_bridge.cache_clear()
        yield
    image_decoding._cv_bridge.cache_clear()


def refusal_of(message: Image | CompressedImage) -> BadImageError:
    with pytest.raises(BadImageError) as refusal:
        ImageDecoder(FULL).decode(message)
    return refusal.value


@pytest.mark.parametrize("encoding", CHANNEL_ORDERS)
@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    whole_last_row=st.booleans(),
    big_endian=st.booleans(),
)
def test_channel_order_encodings_decode_exactly(encoding, height, width, padding, whole_last_row, big_endian):
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    if CHANNEL_ORDERS[encoding] == (0,):
        rgb[...] = rgb[..., :1]
    message = image_message(rgb, encoding, padding, whole_last_row, big_endian)
    assert check_image(message) == (height, width)
    assert np.array_equal(ImageDecoder(FULL).decode(message), rgb)


@pytest.mark.parametrize("encoding", [encoding for encoding in CHANNEL_ORDERS if "16" not in encoding])
def test_eight_bit_encodings_decode_without_copy(encoding):
    message = image_message(np.zeros((4, 5, 3), np.uint8), encoding, padding=2)
    view = ImageDecoder(FULL).decode(message)
    data = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(view, data)
    data[...] = 200
    assert np.all(view == 200)


@pytest.mark.parametrize("encoding", CONVERTED)
@settings(deadline=None, max_examples=40)
@given(
    half_height=st.integers(2, 12),
    half_width=st.integers(2, 12),
    odd=st.booleans(),
    padding=st.integers(0, 5),
    whole_last_row=st.booleans(),
    big_endian=st.booleans(),
)
def test_converted_encodings_decode_within_tolerance(
    encoding, half_height, half_width, odd, padding, whole_last_row, big_endian
):
    odd = odd and (encoding in BAYER or encoding == "nv24")
    rgb = picture(2 * half_height + odd, 2 * half_width + odd)
    message = image_message(rgb, encoding, padding, whole_last_row, big_endian)
    assert check_image(message) == rgb.shape[:2]
    decoded = ImageDecoder(FULL).decode(message)
    assert (decoded.shape, decoded.dtype) == (rgb.shape, np.uint8)
    error = np.abs(decoded.astype(int) - rgb)
    # Of a slope of 2 a pixel: YUV rounds Y, U and V by a half, of which blue takes (1.2 + 2.0) / 2, and shares colors
    # among pixels a half pixel off; Bayer interpolates slopes exactly, but repeats its border.
    assert error.max() <= 4
    if encoding in BAYER:
        assert error[1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize("encoding", [*CONVERTED, "jpeg", "png"])
def test_primary_colors_decode_in_every_encoding(encoding):
    """Saturated, as a picture with mild colors would hide a matrix that is merely similar."""
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0), (255, 255, 255)):
        rgb = np.full((8, 8, 3), color, np.uint8)
        file = encoding in ("jpeg", "png")
        message = compressed_message(file_of(rgb, encoding), encoding) if file else image_message(rgb, encoding)
        assert np.abs(ImageDecoder(FULL).decode(message).astype(int) - rgb).max() <= 3


def test_converted_image_uses_decoder_buffer():
    decoder = ImageDecoder(FULL)
    for encoding in CONVERTED:
        first = decoder.decode(image_message(picture(8, 8), encoding))
        message = image_message(picture(8, 8)[::-1], encoding)
        second = decoder.decode(message)
        assert np.shares_memory(first, second)
        assert not np.shares_memory(second, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoding_allocates_nothing_large(encoding):
    decoder = ImageDecoder(FULL)
    rgb = np.tile(picture(30, 30), (36, 64, 1))
    message = image_message(rgb, encoding, padding=64)
    decoder.decode(message)
    tracemalloc.start()
    try:
        for _ in range(2):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            assert decoder.decode(message).shape == rgb.shape
            assert tracemalloc.get_traced_memory()[1] - before < MAX_ALLOCATED
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["bgr8", "mono16", "yuyv", "nv12", "nv24", "bayer_gbrg8", "bayer_gbrg16"])
def test_deserialized_read_only_messages_decode(encoding):
    """Deserialized, and with bytes that cannot be written to."""
    message = image_message(picture(8, 8), encoding, padding=3)
    expected = ImageDecoder(FULL).decode(message).copy()
    arrived = deserialize_message(serialize_message(message), Image)
    assert np.array_equal(ImageDecoder(FULL).decode(arrived), expected)
    message._data = bytes(message.data)  # the setter would make an array of it
    assert np.array_equal(ImageDecoder(FULL).decode(message), expected)


@pytest.mark.parametrize(
    ("encoding", "changes", "cause", "complaint"),
    [
        ("rgb8", {"encoding": "32FC1"}, "encoding", "unsupported; have the camera publish one of rgb8"),
        ("rgb8", {"encoding": ""}, "encoding", "is unsupported"),
        ("rgb8", {"height": 0}, "zero size", "8x0"),
        ("rgb8", {"width": 0}, "zero size", "0x4"),
        ("rgb8", {"step": 23}, "step", "step is 23 bytes, but 8 pixels of rgb8 take 24"),
        ("rgb8", {"step": 25}, "data size", "96 bytes, but 4 rows of step 25 are 100"),
        ("rgb8", {"height": 3}, "data size", "96 bytes, but 3 rows of step 24 are 72"),
        ("rgb8", {"height": 2**31, "step": 2**31}, "data size", "96 bytes"),
        ("rgb8", {"encoding": "rgb16"}, "step", "8 pixels of rgb16 take 48"),
        ("mono16", {"step": 15}, "step", "8 pixels of mono16 take 16"),
        ("yuyv", {"width": 7}, "odd size", "7x4, but yuyv shares"),
        ("nv12", {"width": 7}, "odd size", "even resolution"),
        ("nv21", {"height": 3}, "odd size", "8x3"),
        ("nv12", {"height": 6}, "data size", "48 bytes, but 9 rows of step 8 are 72"),
        ("nv24", {"encoding": "nv12"}, "data size", "96 bytes, but 6 rows of step 8 are 48"),
        ("bayer_rggb8", {"height": 2}, "mosaic size", "8x2, must be 3x3"),
        ("bayer_rggb16", {"width": 2}, "mosaic size", "2x4, must be 3x3"),
    ],
)
def test_invalid_image_message_is_rejected_with_cause(encoding, changes, cause, complaint):
    message = image_message(picture(4, 8), encoding)
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(BadImageError, match=complaint) as refusal:
        check_image(message)
    assert refusal.value.cause == cause
    assert (refusal_of(message).cause, str(refusal_of(message))) == (cause, str(refusal.value))


@pytest.mark.parametrize(
    ("image_format", "kind"),
    [
        ("jpeg", "jpeg"),
        ("jpg", "jpeg"),
        ("png", "png"),
        ("JPEG", "jpeg"),
        *(("jpeg", "png"), ("png", "jpeg"), ("", "jpeg"), ("", "png")),  # the file itself says what it is
        *(("image/jpeg", "jpeg"), (".jpg", "jpeg"), ("mjpeg", "jpeg"), ("image/png", "png"), ("rgb8;", "jpeg")),
        *(("webp", "webp"), ("bmp", "bmp"), ("bgr8; tiff compressed bgr8", "tiff"), ("h264", "png")),
        ("rgb8; jpeg compressed bgr8", "jpeg"),
        ("bgr8; png compressed bgr8", "png"),
        ("bayer_rggb8; jpeg compressed bgr8", "jpeg"),
    ],
)
def test_compressed_formats_decode(image_format, kind):
    rgb = picture(24, 30)
    message = compressed_message(file_of(rgb, kind), image_format)
    assert check_image(message) is None
    decoded = ImageDecoder(FULL).decode(message)
    assert (decoded.shape, decoded.dtype) == (rgb.shape, np.uint8)
    assert np.abs(decoded.astype(int) - rgb).max() <= (6 if kind in ("jpeg", "webp") else 0)


@pytest.mark.parametrize("image_format", ["mono8; png compressed ", "mono8; png compressed mono8", "png"])
def test_compressed_gray_decodes_to_rgb(image_format):
    gray = picture(24, 30)[..., 1]
    assert np.array_equal(
        ImageDecoder(FULL).decode(compressed_message(file_of(gray, "png"), image_format)), np.dstack([gray] * 3)
    )
    deep = gray.astype(np.uint16) * 256 + 200
    decoded = ImageDecoder(FULL).decode(compressed_message(file_of(deep, "png"), "mono16; png compressed "))
    assert np.array_equal(decoded, np.dstack([gray] * 3))


@pytest.mark.parametrize("encoding", BAYER)
def test_compressed_mosaic_is_demosaiced(encoding):
    """So compressed_image_transport writes a camera's raw image."""
    rgb = picture(12, 14)
    samples = mosaic(rgb, encoding)
    data = file_of(samples.astype(np.uint16) * 256 + 200 if encoding.endswith("16") else samples, "png")
    decoded = ImageDecoder(FULL).decode(compressed_message(data, f"{encoding}; png compressed "))
    assert np.array_equal(decoded, ImageDecoder(FULL).decode(image_message(rgb, encoding)))
    tiny = compressed_message(file_of(samples[:2], "png"), "bayer_rggb8; png compressed ")
    assert refusal_of(tiny).cause == "mosaic size"


def test_exif_orientation_is_ignored():
    """A turned image would not fit its camera_info."""
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + tag + struct.pack(">I", 0)
    rgb = picture(16, 30)
    data = with_segment(file_of(rgb, "jpeg"), 0xE1, exif)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (30, 16, 3)  # it would be turned
    decoded = ImageDecoder(FULL).decode(compressed_message(data))
    assert np.abs(decoded.astype(int) - rgb).max() <= 6


@pytest.mark.parametrize(
    ("image_format", "data", "cause", "complaint"),
    [
        ("16UC1; compressedDepth", b"x", "compressed depth", "is a depth image; remap image to a color camera's image"),
        ("32FC1; compressedDepth png", b"x", "compressed depth", "is a depth image"),
        ("", b"x", "compressed format", "unsupported: it begins with 78; have the camera publish jpeg or png"),
        ("bgr8; tiff compressed bgr8", b"x", "compressed format", "jpeg or png"),
        ("rgb8;", b"x", "compressed format", "is unsupported"),
        ("h264", b"x", "video stream", "part of a video stream; decode it with `ros2 run image_transport republish`"),
        ("", b"\0\0\0\1\x67", "video stream", "part of a video"),
        ("png", bytes(12) + file_of(picture(4, 4), "png"), "compressed depth", "is a depth image"),
        ("jpeg", b"", "empty data", "no data"),
    ],
)
def test_invalid_compressed_image_is_rejected_with_cause(image_format, data, cause, complaint):
    message = compressed_message(data, image_format)
    with pytest.raises(BadImageError, match=complaint) as refusal:
        check_image(message)
    assert refusal.value.cause == cause
    assert refusal_of(message).cause == cause


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff"])
def test_truncated_files_are_rejected_without_output(kind, capfd):
    """OpenCV fills the rest of a JPEG with gray, and complains of a PNG at each frame."""
    whole = file_of(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8), kind)
    for length in range(16, len(whole) - 1, 7):  # long enough to tell the kind of file
        message = compressed_message(whole[:length])
        check_image(message)
        assert refusal_of(message).cause == "compressed data"
    assert capfd.readouterr() == ("", "")


def test_end_of_thumbnail_is_not_end_of_jpeg():
    whole = with_segment(file_of(picture(24, 30), "jpeg"), 0xE1, b"\xff\xd8 thumbnail \xff\xd9")
    ImageDecoder(FULL).decode(compressed_message(whole))
    assert refusal_of(compressed_message(whole[:-2])).cause == "compressed data"


PHOTOGRAPH = PHOTOGRAPH.astype(np.uint8)
BEHIND = {
    "nothing": b"",
    "zeros": bytes(1_000_000),
    "rubbish": np.random.default_rng(3).bytes(300_000),
    "the end of an older frame": jpeg_of(PHOTOGRAPH[::-1])[5000:],
    "another frame": jpeg_of(PHOTOGRAPH[::-1]),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("kind", [*JPEGS, "png"])
def test_bytes_after_end_of_file_are_ignored(kind, behind):
    """So usb_cam publishes motion JPEG: in a buffer as long as the raw image."""
    file = file_of(PHOTOGRAPH, "png") if kind == "png" else JPEGS[kind]
    expected = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    message = compressed_message(file + BEHIND[behind])
    assert np.array_equal(ImageDecoder(FULL).decode(message), expected)
    assert extent_of_file(memoryview(message.data)) == ((120, 160), len(file))


@pytest.mark.parametrize("behind", ["zeros", "another frame"])
@pytest.mark.parametrize("kind", JPEGS)
def test_truncated_jpeg_with_trailing_bytes_is_rejected(kind, behind):
    for length in np.linspace(20, len(JPEGS[kind]) - 2, 25).astype(int):
        message = compressed_message(JPEGS[kind][:length] + BEHIND[behind])
        assert refusal_of(message).cause == "compressed data", length


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_small_file_with_huge_size_is_rejected(kind):
    data = bytearray(file_of(picture(24, 30), kind))
    if kind == "png":
        data[16:24] = struct.pack(">II", 20_000, 20_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    refusal = refusal_of(compressed_message(bytes(data)))
    assert refusal.cause == "compressed size"
    assert f"20000x20000, more than {MAX_PIXELS} pixels" in str(refusal)


def test_bit_flips_in_png_are_rejected():
    whole = file_of(picture(24, 30), "png")
    for position in range(8, len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        assert refusal_of(compressed_message(bytes(flipped))).cause == "compressed data"


@pytest.fixture
def cv_bridge(monkeypatch):
    """A module cv_bridge that knows one more encoding, as CvBridge does."""

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            if message.encoding not in ("mono8", "rgb8s"):
                raise RuntimeError(f"no conversion from {message.encoding} to {desired_encoding}")
            pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)
            return np.ascontiguousarray(np.broadcast_to(pixels, (message.height, message.width, 3)))

    module = types.ModuleType("cv_bridge")
    module.CvBridge = CvBridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    image_decoding._cv_bridge.cache_clear()
    yield module
    image_decoding._cv_bridge.cache_clear()


def test_cv_bridge_decodes_remaining_encodings(cv_bridge):
    rgb = picture(4, 5)
    message = image_message(rgb, "rgb8")
    message.encoding = "rgb8s"
    assert check_image(message) == (4, 5)
    assert np.array_equal(ImageDecoder(FULL).decode(message), rgb)
    message.encoding = "32FC1"
    assert check_image(message) == (4, 5)
    assert refusal_of(message).cause == "encoding"
    assert "no conversion from 32FC1 to rgb8" in str(refusal_of(message))
    message.width, message.encoding = 3, "rgb8s"  # what comes back is looked at, too
    assert refusal_of(message).cause == "encoding"
    message.height = 0
    assert refusal_of(message).cause == "zero size"


@pytest.mark.parametrize(
    "source",
    [
        "raise AttributeError('_ARRAY_API not found')",
        "raise ImportError('numpy.core.multiarray failed to import')",
        "raise SystemError('initialization of cv_bridge_boost raised unreported exception')",
        "class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        raise ImportError('numpy')",
        "class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        return None",
    ],
)
def test_broken_cv_bridge_is_tried_once_and_ignored(source, tmp_path, monkeypatch):
    tries = tmp_path / "tries"
    (tmp_path / "cv_bridge.py").write_text(f"open({str(tries)!r}, 'a').write('x')\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    image_decoding._cv_bridge.cache_clear()
    message = image_message(picture(4, 5), "rgb8")
    message.encoding = "rgb8s"
    for _ in range(3):
        with pytest.raises(BadImageError, match=r"unsupported; .* rgb8, bgr8"):
            check_image(message)
        assert refusal_of(message).cause == "encoding"
    assert tries.read_text() == "x"  # tried once
    image_decoding._cv_bridge.cache_clear()


def decode_or_refuse(message: Image | CompressedImage) -> np.ndarray | None:
    """Return the pixels, or None if the message is rejected; fail on anything else."""
    size, complaint = attempt(check_image, message)
    pixels, cause = attempt(ImageDecoder(FULL).decode, message)
    assert cause == complaint or (isinstance(message, CompressedImage) and complaint is None)
    if cause is None:
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        assert pixels.shape[:2] == size or isinstance(message, CompressedImage)
        pixels.sum()  # every byte can be read
    return pixels


def attempt(function: Callable, message: Image | CompressedImage) -> tuple[object, str | None]:
    """Return the function's result and the cause of a rejection."""
    try:
        return function(message), None
    except BadImageError as error:
        return None, error.cause


@settings(deadline=None, max_examples=500)
@given(
    encoding=st.sampled_from([*ENCODINGS, "", "32FC1", "bayer_rggb", "rgb8\0", "yuv"]),
    height=st.one_of(st.integers(0, 9), st.sampled_from([2**16, 2**31, 2**32 - 1])),
    width=st.one_of(st.integers(0, 9), st.sampled_from([2**16, 2**31, 2**32 - 1])),
    row_bytes=st.sampled_from([1, 2, 3, 4, 6, 8]),
    extra_step=st.integers(-2, 5),
    extra_rows=st.sampled_from([1, 1.5, 3]),
    extra_data=st.one_of(st.just(0), st.integers(-9, 9)),
    big_endian=st.integers(0, 255),
    seed=st.integers(0, 9),
)
def test_arbitrary_raw_images_decode_or_are_rejected(
    encoding, height, width, row_bytes, extra_step, extra_rows, extra_data, big_endian, seed
):
    step = min(max(width * row_bytes + extra_step, 0), 2**32 - 1)
    length = min(max(int(height * extra_rows) * step + extra_data, 0), 5000)
    message = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=big_endian)
    message.data.frombytes(np.random.default_rng(seed).bytes(length))
    decode_or_refuse(message)


FILES = [
    file_of(picture(12, 14), "jpeg"),
    file_of(np.random.default_rng(5).integers(0, 256, (9, 11, 3), np.uint8), "jpeg"),
    cv2.imencode(".jpg", picture(20, 21), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    file_of(picture(9, 7), "png"),
    file_of(picture(9, 7)[..., 0], "png"),
    file_of(picture(9, 7).astype(np.uint16) * 257, "png"),
    *(file_of(picture(9, 7), kind) for kind in ("webp", "bmp", "tiff")),
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"",
]
FORMATS = [
    "jpeg",
    "png",
    "rgb8; jpeg compressed bgr8",
    "bayer_gbrg8; png compressed ",
    "16UC1; compressedDepth",
    "webp",
]


@settings(deadline=None, max_examples=500)
@given(
    data=st.sampled_from(FILES),
    image_format=st.one_of(st.sampled_from(FORMATS), st.text(max_size=12).filter(lambda text: text.isprintable())),
    keep=st.floats(0, 1),
    truncates=st.booleans(),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=4),
    tail=st.binary(max_size=20),
)
def test_arbitrary_compressed_images_decode_or_are_rejected(data, image_format, keep, truncates, flips, tail):
    damaged = bytearray(data[: int(keep * len(data))] if truncates else data)
    for place, bit in flips if damaged else ():
        damaged[int(place * len(damaged))] ^= 1 << bit
    decode_or_refuse(compressed_message(bytes(damaged) + tail, image_format))


def test_fuzz_decodes_intact_files():
    """Else it would prove nothing."""
    assert [decode_or_refuse(compressed_message(data)) is not None for data in FILES] == [True] * 9 + [False] * 3
