"""Readers of single files: images, depth and cameras in the formats of the declared sets."""

from __future__ import annotations

import math
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from miniature_files import HEIGHT, WIDTH, encoded, numbers, picture, put, put_exr, put_hdf5, samples

from depth_anything_ros.data.camera_files import NumbersFile, SintelCamera
from depth_anything_ros.data.depth_files import (
    DisparityPicture,
    ExrDisparity,
    Hdf5Array,
    NumpyArray,
    Picture,
    PortableFloatMap,
    RawFloats,
    RotatedPicture,
    SintelDepth,
)
from depth_anything_ros.data.frame import DataError, read_image
from depth_anything_ros.data.sets import find_set


def test_truncated_jpeg_is_rejected(tmp_path):
    """OpenCV may give its upper half and fill up with gray."""
    smooth = cv2.resize(picture(1), (640, 480), interpolation=cv2.INTER_CUBIC)
    content = encoded(".jpg", smooth)
    for keep in (len(content) // 3, len(content) - 2):
        (tmp_path / "half.jpg").write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"half\.jpg is not a picture, or is damaged: it is truncated"):
            read_image(tmp_path / "half.jpg")


def test_jpeg_with_trailing_video_is_read(tmp_path):
    """As telephones take them."""
    (tmp_path / "motion.jpg").write_bytes(encoded(".jpg", picture(1)) + bytes(200_000))
    assert read_image(tmp_path / "motion.jpg").shape == (HEIGHT, WIDTH, 3)


def test_image_larger_than_opencv_limit_is_named(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    parts = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks]
    (tmp_path / "vast.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(DataError, match=r"vast\.png is not a picture, or is damaged"):
        read_image(tmp_path / "vast.png")


def test_hypersim_ray_distance_becomes_depth(tmp_path):
    """A wall three meters ahead, at the images' real size: over each pixel the length of its ray to the wall."""
    focal, wall = 886.81, 3.0
    distance = np.empty((768, 1024))
    for row in range(768):
        y = (row - 383.5) / focal
        for column in range(1024):
            distance[row, column] = wall * math.sqrt(((column - 511.5) / focal) ** 2 + y**2 + 1)
    assert distance[0, 0] > 1.22 * wall  # the corners are a fifth further away
    path = tmp_path / "frame.0000.depth_meters.hdf5"
    put_hdf5(path, dataset=distance.astype(np.float16))
    depth = find_set("hypersim").read_depth(path, (768, 1024))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, wall, rtol=2**-11)  # half a step of float16


@pytest.mark.parametrize("millimeters", [1, 7, 8, 500, 8191, 8192, 65535])
def test_sun_rgbd_samples_are_bit_rotated_back(tmp_path, millimeters):
    bits = f"{millimeters:016b}"
    stored = int(bits[3:] + bits[:3], 2)
    cv2.imwrite(str(tmp_path / "depth.png"), np.full((2, 3), stored, np.uint16))
    depth = RotatedPicture(0.001)(tmp_path / "depth.png", (2, 3))
    np.testing.assert_allclose(depth, millimeters / 1000, rtol=1e-6)


@pytest.mark.parametrize(("scale", "kind"), [("-1.0", "<f4"), ("1.0", ">f4"), ("-1e0", "<f4"), ("1", ">f4")])
def test_pfm_scale_sets_byte_order(tmp_path, scale, kind):
    depth = numbers(0, 0.5, 9)
    path = tmp_path / "depth.pfm"
    path.write_bytes(f"Pf\n{WIDTH} {HEIGHT}\n{scale}\n".encode() + depth[::-1].astype(kind).tobytes())
    np.testing.assert_array_equal(PortableFloatMap()(path, (HEIGHT, WIDTH)), depth)


def test_exr_with_one_channel_or_three_is_read(tmp_path):
    disparity = numbers(0, 1, 90)
    put_exr(tmp_path / "y.exr", Y=disparity)
    put_exr(tmp_path / "rgb.exr", R=disparity + 1, G=disparity, B=disparity + 2)
    put_exr(tmp_path / "half.exr", G=disparity.astype(np.float16))
    read = ExrDisparity(48.0)
    np.testing.assert_allclose(read(tmp_path / "y.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "rgb.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "half.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=2**-10)


def test_sixteen_bit_disparity_keeps_its_steps(tmp_path):
    stored = samples(0, 1, 65535)
    cv2.imwrite(str(tmp_path / "gts.png"), stored)
    depth = DisparityPicture()(tmp_path / "gts.png", (HEIGHT, WIDTH))
    assert np.isposinf(depth[stored == 0]).all()
    np.testing.assert_allclose(depth[stored > 0], 65535 / stored[stored > 0].astype(float), rtol=1e-6)


def test_file_without_depth_is_rejected_with_name(tmp_path):
    """Files that are whole, of the right ending and of the wrong kind."""
    color, bytes_of_8 = tmp_path / "color.png", tmp_path / "gray.png"
    put(color, picture(0))
    put(bytes_of_8, picture(0)[..., 0])
    put(tmp_path / "three.npy", np.zeros((4, 4, 3)))
    put(tmp_path / "text.npy", np.array([["a", "b"]]))
    put(tmp_path / "letter.pfm", b"PF\n4 4\n-1\n" + bytes(192))
    put(tmp_path / "unfinished.pfm", b"Pf\n4 4\n-\n" + bytes(64))
    put(tmp_path / "long.JPG", bytes(4 * 17))
    put(tmp_path / "short.dpt", struct.pack("<fii", 202021.25, 4, 4))
    put(tmp_path / "negative.dpt", struct.pack("<fii", 202021.25, -4, 4))
    put(tmp_path / "other.dpt", struct.pack("<fii", 1.0, 4, 4) + bytes(64))
    put_hdf5(tmp_path / "flat.h5", depth=np.zeros(4))
    put_hdf5(tmp_path / "other.h5", albedo=np.zeros((4, 4)))
    put_hdf5(tmp_path / "text.h5", depth=np.bytes_("none"))
    put_hdf5(tmp_path / "group.h5", **{"depth/map": np.zeros((4, 4))})
    with (tmp_path / "several.npy").open("wb") as file:
        np.savez(file, depth=np.zeros((4, 4)))
    put(tmp_path / "archive.npy", b"PK\3\4 and no more")
    for read, name, message in (
        (Picture(0.001), "color.png", "depth is uint8 (32, 64, 3), must be a 16-bit picture"),
        (RotatedPicture(0.001), "gray.png", "depth is uint8 (32, 64), must be a 16-bit picture"),
        (DisparityPicture(), "color.png", "must be a picture of one channel"),
        (NumpyArray(), "three.npy", "contains float64 (4, 4, 3), must be numbers (H, W)"),
        (NumpyArray(), "text.npy", "contains <U1 (1, 2), must be numbers (H, W)"),
        (PortableFloatMap(), "letter.pfm", "is not a PFM file of one channel"),
        (PortableFloatMap(), "unfinished.pfm", "is not a PFM file of one channel"),
        (RawFloats(), "long.JPG", "has 68 bytes of depth, must have 64"),
        (SintelDepth(), "short.dpt", "has 0 bytes of depth, must have 64"),
        (SintelDepth(), "negative.dpt", "is not a .dpt file: it begins with 202021.25, -4, 4"),
        (SintelDepth(), "other.dpt", "is not a .dpt file: it begins with 1.0, 4, 4"),
        (Hdf5Array("depth"), "flat.h5", "'depth' is (4,), must be (H, W)"),
        (Hdf5Array("depth"), "other.h5", "cannot read 'depth' of"),
        (Hdf5Array("depth"), "text.h5", "cannot read 'depth' of"),
        (Hdf5Array("depth"), "group.h5", "cannot read 'depth' of"),
        (NumpyArray(), "several.npy", "is an archive of arrays, must be one array"),
        (NumpyArray(), "archive.npy", "cannot read"),
    ):
        with pytest.raises(DataError, match=re.escape(message)) as refusal:
            read(tmp_path / name, (4, 4))
        assert str(tmp_path / name) in str(refusal.value)


def test_pickled_object_in_npy_is_not_executed(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read .*evil\.npy"):
        NumpyArray()(tmp_path / "evil.npy", (4, 4))


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d", "nan nan nan nan", "-500 500 320 240", "500 0 320 240"])
def test_invalid_intrinsics_file_is_rejected_with_name(tmp_path, text):
    put(tmp_path / "intrinsics.txt", text)
    with pytest.raises(DataError, match=r"intrinsics\.txt has no valid camera"):
        NumbersFile("intrinsics.txt", at=(0, 1, 2, 3))(tmp_path, {}, (4, 4))


def test_missing_calibration_line_raises(tmp_path):
    put(tmp_path / "calib.txt", "P_rect_00: 1 0 2 0 0 3 4 0 0 0 1 0\n")
    with pytest.raises(DataError, match=r"calib\.txt has no valid camera"):
        NumbersFile("calib.txt", at=(0, 5, 2, 6), after="P_rect_02:")(tmp_path, {}, (4, 4))


def test_sintel_camera_without_focal_length_raises(tmp_path):
    put(tmp_path / "frame.cam", struct.pack("<f", 202021.25) + bytes(168))
    with pytest.raises(DataError, match=r"frame\.cam has no valid camera"):
        SintelCamera("frame.cam")(tmp_path, {}, (4, 4))
    put(tmp_path / "frame.cam", struct.pack("<f", 1.0) + bytes(168))
    with pytest.raises(DataError, match=r"frame\.cam is not a \.cam file of Sintel"):
        SintelCamera("frame.cam")(tmp_path, {}, (4, 4))


def test_other_matlab_file_has_no_nyu_frames(tmp_path):
    put_hdf5(tmp_path / "nyu_depth_v2_labeled.mat", other=np.zeros(3))
    assert list(find_set("nyuv2_labeled").names(tmp_path)) == []


def test_npy_with_damaged_header_is_named(tmp_path):
    header = b"{'descr': ('<f4', \n"
    put(tmp_path / "depth.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(DataError, match=r"cannot read .*depth\.npy"):
        NumpyArray()(tmp_path / "depth.npy", (2, 2))
