"""Parts of miniature sets: images, depth and files in the original formats."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
import OpenEXR

HEIGHT, WIDTH = 32, 64
JPEG, VIDEO = 4, 16
"""How far a color may be from what was written."""
NYU = (518.857901, 519.469611, 325.582449, 253.736166)
"""fx, fy, cx, cy of NYUv2."""


@dataclass(frozen=True)
class Expected:
    """The expected content of a frame.

    ``image``: RGB, met within ``tolerance``. ``depth``: NaN where unknown, +Inf for the sky. ``camera``: fx, fy, cx,
    cy. ``labels``: classes. ``files``: the source files, image first. ``refused``: the error's text for a frame that
    is in the set but cannot be read.
    """

    name: str
    image: np.ndarray
    files: tuple[str, ...]
    tolerance: int = 0
    depth: np.ndarray | None = None
    camera: tuple[float, float, float, float] | None = None
    labels: np.ndarray | None = None
    refused: str = ""


Builder = Callable[[Path], list[Expected]]


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """RGB in four quadrants of four colors, unequal to its mirror images, with whole blocks of a JPEG or video."""
    colors = np.random.default_rng(seed).integers(30, 220, (2, 2, 3), dtype=np.uint8)
    return colors.repeat(height // 2, 0).repeat(width // 2, 1)


def numbers(seed: int, low: float, high: float) -> np.ndarray:
    """Float32 (H, W) between low and high, no two alike, so that swapped rows and columns are detected."""
    return np.random.default_rng(seed).uniform(low, high, (HEIGHT, WIDTH)).astype(np.float32)


def samples(seed: int, low: int, high: int, kind: type = np.uint16) -> np.ndarray:
    """The same in whole numbers, with three zeros at the top left."""
    values = np.random.default_rng(seed).integers(low, high, (HEIGHT, WIDTH), endpoint=True).astype(kind)
    values[0, :3] = 0
    return values


def unknown_at_zero(stored: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return np.where(stored == 0, np.nan, depth).astype(np.float32)


def encoded(ending: str, array: np.ndarray, *options: int) -> bytes:
    """An image file; three channels are RGB."""
    done, content = cv2.imencode(ending, array[..., ::-1] if array.ndim == 3 else array, options)
    assert done
    return content.tobytes()


def put(path: Path, content: bytes | str | np.ndarray) -> None:
    """Write a file and its parent folders: an array in the format of its suffix, RGB if it has three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, np.ndarray) and path.suffix == ".npy":
        return np.save(path, content)
    elif isinstance(content, np.ndarray):
        content = encoded(path.suffix, content)
    path.write_bytes(content)
    return None


def pfm(depth: np.ndarray) -> bytes:
    """A PFM as MVSNet's tools write it: little-endian, rows from the bottom."""
    return f"Pf\n{depth.shape[1]} {depth.shape[0]}\n-1.000000\n".encode() + depth[::-1].astype("<f4").tobytes()


def put_hdf5(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def put_exr(path: Path, **channels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))


def put_video(path: Path, frames: Sequence[np.ndarray], rate: float = 10.0) -> None:
    """MPEG-4, in the container of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
    assert writer.isOpened(), "OpenCV was built without an encoder of MPEG-4"
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def put_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def images_only(root: Path, names: Sequence[str]) -> list[Expected]:
    """Write images under these names, and expect them unchanged."""
    expected = []
    for seed, name in enumerate(names):
        put(root / name, picture(seed))
        expected.append(Expected(name, picture(seed), (name,), 0 if name.endswith(".png") else JPEG))
    return expected
