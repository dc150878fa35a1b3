"""Image files: false, truncated or unusual ones raise `DamagedFileError`, with any version of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from damaged_files import encoded, flat, huge_jpeg, huge_png, tiff_pages

from depth_anything_ros.images import image_files
from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.image_files import decode_rgb, read_file
from depth_anything_ros.images.pages import pages_of
from depth_anything_ros.system.memory import available_bytes

NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 1)


@pytest.mark.parametrize("content", [huge_png(), huge_jpeg(40_000)])
def test_header_with_excessive_size_raises_damaged_file_error(content):
    with pytest.raises(DamagedFileError, match="40000x40000 pixels"):
        decode_rgb(content)


def test_jpeg_too_short_for_its_size_is_rejected_before_decode():
    """OpenCV takes 5 GB and half a minute, and gives gray."""
    with pytest.raises(DamagedFileError, match="declares 30000x30000 pixels, more than its data can give"):
        decode_rgb(huge_jpeg(30_000))
    white = encoded(".jpg", flat(255, 2400, 3200))  # no JPEG has fewer bytes for so many pixels
    assert decode_rgb(white).shape == (2400, 3200, 3)


def test_image_larger_than_memory_is_rejected(monkeypatch):
    """The memory of this machine stands in for a smaller one's."""
    content = huge_png(16_384)
    with pytest.raises(DamagedFileError, match="OpenCV cannot decode its 16384x16384 pixels"):
        decode_rgb(content)
    monkeypatch.setattr(image_files, "available_bytes", lambda: 1 << 30)
    with pytest.raises(DamagedFileError, match="there is not enough memory for its 16384x16384 pixels"):
        decode_rgb(content)


def test_available_bytes_is_plausible():
    assert 1 << 20 < available_bytes() < 1 << 50


@pytest.mark.parametrize(
    "ending",
    [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".pam", ".ras", ".jp2", ".gif", ".avif"],
)
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_truncated_image_of_each_format_raises(ending, share):
    if not cv2.haveImageWriter(f"a{ending}"):
        pytest.skip(f"this OpenCV does not write {ending}")
    content = encoded(ending, NOISE)
    assert decode_rgb(content).shape == NOISE.shape
    with pytest.raises(DamagedFileError):
        decode_rgb(content[: min(int(share * len(content)), len(content) - 3)])


def test_half_jpeg_is_reported_as_truncated():
    """OpenCV before 5 fills up with gray what lacks."""
    content = encoded(".jpg", NOISE)
    with pytest.raises(DamagedFileError, match="it is truncated"):
        decode_rgb(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"words", "OpenCV cannot decode it$"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "it is HEIC; convert it to JPEG or PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "it is JPEG XL; convert it"),
        (b"8BPS" + bytes(99), "it is PSD; convert it"),
        (tiff_pages(10, 20, preview_first=True), "small preview, like a camera's raw file; convert it"),
        (encoded(".tiff", np.ones((4, 4, 3), np.float32)), "has float32 values"),
    ],
)
def test_damaged_file_error_names_the_cause(content, said):
    with pytest.raises(DamagedFileError, match=said):
        decode_rgb(content)


def test_huge_sparse_file_is_rejected_unread(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DamagedFileError, match="it has 1099511627776 bytes, more than OpenCV can read"):
        read_file(tmp_path / "a.png")


def gif_frames(count: int) -> bytes:
    """1x1 frames, with a color table and an application block."""
    head = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"
    return head + b"!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0" * count + b";"


def webp_frames(count: int) -> bytes:
    head = b"WEBPVP8X\x0a\0\0\0\2\0\0\0\0\0\0\0\0\0ANIM\6\0\0\0\0\0\0\0\0\0"
    body = head + b"ANMF\3\0\0\0\0\0\0\0" * count
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize(
    ("content", "pages"),
    [
        (tiff_pages(10), 1),
        (tiff_pages(10, 20, 30), 3),
        (tiff_pages(10, 20, 30, preview_first=True), 2),
        (gif_frames(1), 1),
        (gif_frames(4), 4),
        (webp_frames(5), 5),
        (encoded(".webp"), 1),
        (encoded(".png"), 1),
        (encoded(".png")[:33] + b"\0\0\0\x08acTL\0\0\0\7\0\0\0\0crc " + encoded(".png")[33:], 7),
        (encoded(".jpg"), 1),
        (b"", 1),
        (b"II*\0\x08\0\0\0", 1),
    ],
)
def test_pages_of_counts_images_in_file(content, pages):
    assert pages_of(memoryview(content)) == pages


def test_tiff_with_circular_directory_ends_count():
    content = bytearray(tiff_pages(10))
    end = 8 + 2 + 12 * 9
    content[end : end + 4] = (8).to_bytes(4, "little")
    assert pages_of(memoryview(bytes(content))) > 1


def test_decode_reads_first_page():
    assert decode_rgb(tiff_pages(10, 200)).max() == 10
