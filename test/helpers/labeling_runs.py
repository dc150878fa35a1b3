"""Runs of `depth_anything_ros label` on small shards, and what they leave."""

from __future__ import annotations

import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import stage_runs
from miniature_files import encoded, put
from warm_process import ForkedProcess

from depth_anything_ros.cli import main
from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shards import pack
from depth_anything_ros.data.tar_members import read_member

IMAGES, PER_SHARD, CHUNK, BATCH = 36, 10, 3, 2
SIZES = ((90, 120), (120, 90), (100, 100))
OPTIONS = ["--chunk", str(CHUNK), "--batch", str(BATCH), "--workers", "1", "--device", "cpu"]
TURNED = 4
"""The image whose Exif header rotates it."""


def scene(seed: int) -> np.ndarray:
    """An RGB image of a few boxes before a gradient."""
    generator = np.random.default_rng(seed)
    height, width = SIZES[seed % len(SIZES)]
    image = np.linspace(40, 200, height)[:, None, None] * generator.uniform(0.5, 1.2, 3) * np.ones((height, width, 3))
    for _ in range(6):
        row, column = generator.integers(0, height - 20), generator.integers(0, width - 20)
        image[row : row + generator.integers(10, 60), column : column + generator.integers(10, 60)] = generator.uniform(
            0, 255, 3
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def turned(jpeg: bytes) -> bytes:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff + jpeg[2:]


def pack_pictures(folder: Path, output: Path, per_shard: int) -> Path:
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), folder, output, per_shard, executor))
    return output


def label(shards: Path, output: Path, *options: str | Path, teacher: str | Path = "tiny") -> int:
    """Run the command in this process; it hides the GPUs, which later tests may need."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    arguments = [str(shards), "--teacher", str(teacher), "--output", str(output), *OPTIONS, *map(str, options)]
    try:
        return main(["label", *arguments])
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def contents(folder: Path) -> dict[str, bytes]:
    assert all(path.is_file() for path in folder.iterdir())
    return {path.name: path.read_bytes() for path in shown(folder)}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in shown(folder)}


def shown(folder: Path) -> list[Path]:
    """The visible files in a folder; locks and notes contain process ids and paths."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def start(shards: Path, output: Path, *options: str, **variables: str) -> ForkedProcess:
    """Start the command in its own process, forked from a warm one."""
    words = ["label", str(shards), "--teacher", "tiny", "--output", str(output), *OPTIONS, *options]
    return stage_runs.WARM.start(words, stage_runs.environment() | variables)


def decoded(labels: Path, shard: str, key: str) -> tuple[np.ndarray, float]:
    """A label, and one step of its codes."""
    described = json.loads(read_member(labels / shard, f"{key}.json"))
    code_range = CodeRange.from_dictionary(described["depth"])
    assert code_range.scale == "inverse_depth"
    codes = from_png(read_member(labels / shard, f"{key}.depth.png"))
    return decode_inverse_depth(codes, code_range), (code_range.high - code_range.low) / 65533


def label_as(rank: int, shards: Path, output: Path, *options: str) -> int:
    """Run the command as one of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", str(rank))
        patch.setenv("WORLD_SIZE", "2")
        return label(shards, output, *options)


def row(shard: str, number: int, chunks: int, problem: str = "") -> dict[str, object]:
    return {"shard": shard, "number": number, "chunks": chunks, "images": 1, "problem": problem, "failure": ""}


def write_shards(folder: Path, output: Path) -> Path:
    """Write images in three shapes to ``folder`` and pack them into four shards. Return ``output``."""
    for number in range(IMAGES):
        jpeg = encoded(".jpg", scene(number))
        put(folder / f"{number:02d}.jpg", turned(jpeg) if number == TURNED else jpeg)
    return pack_pictures(folder, output, PER_SHARD)
