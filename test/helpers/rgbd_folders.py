"""Folders of images with depth, as users have them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tifffile
from miniature_files import encoded, picture, put

from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import Declaration

HEIGHT, WIDTH = 24, 32


def millimeters(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    stored = np.random.default_rng(seed).integers(500, 6000, (height, width)).astype(np.uint16)
    stored[0] = 0
    return stored


def put_frame(root: Path, image: str, depth: str, seed: int = 0) -> None:
    put(root / image, picture(seed, HEIGHT, WIDTH))
    put(root / depth, encoded(".png", millimeters(seed)))


def rgbd(**said) -> RgbdSet:
    return RgbdSet(declared=Declaration(**said))


METERS = np.random.default_rng(5).uniform(0.5, 6, (HEIGHT, WIDTH)).astype(np.float32)


def put_array(path: Path, *array: np.ndarray, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, *array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, *array, **arrays)
    else:
        tifffile.imwrite(path, *array)


def message_matches(text: str, message: str) -> bool:
    return re.search(message, text) is not None


NUMBERS = {"fx": 30.0, "fy": 31.0, "cx": 15.0, "cy": 12.0}
