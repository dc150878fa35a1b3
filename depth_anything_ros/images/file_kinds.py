"""Tell images, videos and other files apart, by the name if it suffices, else by OpenCV's reader for the content."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from depth_anything_ros.images.opencv_names import name_for_opencv

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".ras", ".sr"),
    }
)
"""Suffixes that every OpenCV build reads."""
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".f4v", ".3gp"),
        *(".3g2", ".ogv", ".mts", ".m2ts", ".mjpg", ".mjpeg", ".h264", ".h265", ".hevc", ".y4m", ".mxf", ".vob"),
    }
)
PICTURES_SOMETIMES_READ = frozenset(
    {
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".gif", ".jp2", ".j2k", ".jpf", ".jpx", ".dng", ".cr2", ".cr3"),
        *(".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".tga", ".psd", ".xcf", ".qoi", ".pcx"),
    }
)
"""Suffixes of images that only some OpenCV builds read, or none. They are never skipped silently."""
_NEVER_PICTURES = frozenset(
    {
        *(".txt", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".csv", ".md", ".rst", ".html", ".pdf", ".log", ".py"),
        *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".ply", ".pcd", ".obj", ".bin", ".tar", ".gz", ".zst", ".zip"),
        *(".mcap", ".db3", ".bag", ".onnx", ".pt", ".pth", ".safetensors", ".exr", ".hdr", ".pfm", ".dpt", ".flo"),
        *(".wav", ".mp3", ".srt", ".ini", ".db"),
    }
)
"""Suffixes of files that are never opened, since folders contain millions of them."""
_OF_SAMPLES = (".depth.png", ".label.png")
"""Endings of depth maps and labels in a shard, which are not images."""
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "CR3, a camera's raw file",
}
_BRANDS_OF_AVIF = (b"avif", b"avis", b"mif1", b"msf1", b"miaf")
_VIDEO = "a video"
_STARTS = {
    b"GIF8": "GIF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "PSD",
    b"FUJIFILM": "RAF, a camera's raw file",
    b"qoif": "QOI",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"\x1aE\xdf\xa3": f"{_VIDEO} (Matroska, WebM)",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "compressed with gzip",
}


class FileKind(Enum):
    """The kind of a file for a search of images and videos."""

    IMAGE = "image"
    VIDEO = "video"
    UNREAD_IMAGE = "image of a kind that OpenCV does not read"
    OF_SAMPLE = "depth or labels of a sample"
    OTHER = "other"


_KINDS = {
    FileKind.IMAGE: IMAGE_SUFFIXES,
    FileKind.VIDEO: VIDEO_SUFFIXES,
    FileKind.OTHER: _NEVER_PICTURES,
    FileKind.UNREAD_IMAGE: PICTURES_SOMETIMES_READ,
}


def kind_of_name(name: str) -> FileKind | None:
    """Return the kind of a file by its name, None if the name is ambiguous.

    `UNREAD_IMAGE` means a kind of image that only some OpenCV builds read.
    """
    name = name.lower()
    suffix = name[name.rfind(".") :] if "." in name else ""
    if name.endswith(_OF_SAMPLES):
        return FileKind.OF_SAMPLE
    return next((kind for kind, suffixes in _KINDS.items() if suffix in suffixes), None)


def kind_of_path(path: Path) -> FileKind:
    """Return the kind of a file. If its name is ambiguous, open it to check whether OpenCV has a reader for it."""
    kind = kind_of_name(path.name)
    if kind not in (None, FileKind.UNREAD_IMAGE):
        return kind
    if path.is_file() and _has_reader(path):
        return FileKind.IMAGE
    is_damaged = kind is FileKind.UNREAD_IMAGE and _has_writer(path.suffix)  # OpenCV knows the kind
    return FileKind.IMAGE if is_damaged else kind or FileKind.OTHER


def kind_of_named_file(path: Path) -> FileKind:
    """Return the kind of a file that a user names: a video can have any name, an image can end like a depth map."""
    kind = kind_of_path(path)
    if kind is FileKind.OF_SAMPLE:
        return FileKind.IMAGE
    if kind is not FileKind.OTHER or not path.is_file():
        return kind
    try:
        with path.open("rb") as file:
            name = name_of_content(memoryview(file.read(512)))
    except OSError:  # reading the file reports it
        return kind
    return FileKind.VIDEO if name is not None and name.startswith(_VIDEO) else kind


def _has_writer(suffix: str) -> bool:
    import cv2  # not above: the command line imports this module for its suffixes, also where OpenCV is missing

    return cv2.haveImageWriter(f"a{suffix}")


def _has_reader(path: Path) -> bool:
    """Return whether OpenCV has a reader for a file. OpenCV takes any file with an MP4's beginning for AVIF."""
    import cv2

    try:
        with name_for_opencv(path) as name:
            if not cv2.haveImageReader(name):
                return False
        with path.open("rb") as file:
            start = file.read(12)
    except (cv2.error, OSError):
        return False
    return start[4:8] != b"ftyp" or start[8:] in _BRANDS_OF_AVIF


def name_of_content(data: memoryview) -> str | None:
    """Return the kind of a file by its first bytes, as text, for kinds that `kind_of_file` does not recognize."""
    start = bytes(data[:16])
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], f"{_VIDEO} (MP4, MOV)")
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return f"{_VIDEO} (AVI)"
    if bytes(data[:377:188]) == b"GGG":
        return f"{_VIDEO} (MPEG transport stream)"
    return next((name for begin, name in _STARTS.items() if start.startswith(begin)), None)
