"""Rendered scenes on disk: made once, by several processes, a file each; read back for training in a fixed order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from depth_anything_ros.training.augmentation import augment
from depth_anything_ros.training.configuration import TrainingConfiguration
from depth_anything_ros.whole_file import replacing, write_whole


def scene_path(folder: Path, index: int) -> Path:
    """Where scene number ``index`` lies."""
    return folder / f"scene_{index:06d}.npz"


def render_to_file(folder: Path, index: int, seed: int, size: tuple[int, int]) -> None:
    """Renders one scene and stores image (uint8) and inverse depth (float16, 1/m); whole or not at all."""
    from depth_anything_ros.training.rendering.render import render
    from depth_anything_ros.training.rendering.scene_images import depth_with_sky

    scene = render(seed, size[1], size[0])
    inverse_depth = 1 / depth_with_sky(scene.depth)
    with replacing(scene_path(folder, index)) as partial, partial.open("wb") as file:
        np.savez(file, image=scene.image, inverse_depth=inverse_depth.astype(np.float16))


def render_scenes(folder: Path, configuration: TrainingConfiguration, processes: int) -> None:
    """Renders whatever is still missing of the configured scenes, with a progress bar; may be interrupted.

    Raises:
        ValueError: the folder holds scenes of another seed or size.
        BrokenProcessPool: a process was killed; the scenes that were finished are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, {"seed": configuration.seed, "size": list(configuration.scene_size)})
    total = configuration.scenes + configuration.held_out
    missing = [index for index in range(total) if not scene_path(folder, index).exists()]
    if not missing:
        return
    first_seed = configuration.seed * 1_000_003
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(render_to_file, folder, index, first_seed + index, configuration.scene_size)
            for index in missing
        ]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), desc="rendering scenes", unit="scene"):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _claim(folder: Path, origin: dict[str, object]) -> None:
    """Notes what a folder's scenes are made from, or checks that it is the same as before."""
    note = folder / "origin.json"
    if not note.exists():
        write_whole(note, json.dumps(origin).encode())
    elif json.loads(note.read_text()) != origin:
        raise ValueError(f"{folder} holds scenes of {note.read_text()}, wanted are {json.dumps(origin)}: delete it")


def read_scene(folder: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and inverse depth float32 (H, W) in 1/m. Raises ValueError, naming a damaged file."""
    path = scene_path(folder, index)
    try:
        with np.load(path) as stored:
            return stored["image"], stored["inverse_depth"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"cannot read {path}: {error}; delete it to have it rendered anew") from error


class TrainingScenes(Dataset):
    """Augmented samples; item (step, slot) is the same whenever and in whatever process it is asked for."""

    def __init__(self, folder: Path, configuration: TrainingConfiguration) -> None:
        self.folder = folder
        self.configuration = configuration

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Image uint8 (h, w, 3) and inverse depth float32 (h, w); the size is the same for a whole step."""
        step, slot = key
        configuration = self.configuration
        sample = step * configuration.batch + slot
        epoch, position = divmod(sample, configuration.scenes)
        order = np.random.default_rng((configuration.seed, epoch)).permutation(configuration.scenes)
        size = configuration.sizes[
            np.random.default_rng((configuration.seed, 1, step)).integers(len(configuration.sizes))
        ]
        image, inverse_depth = read_scene(self.folder, configuration.held_out + int(order[position]))
        generator = np.random.default_rng((configuration.seed, 2, sample))
        image, inverse_depth = augment(image, inverse_depth, size, generator)
        return torch.from_numpy(image), torch.from_numpy(inverse_depth)


class StepSampler(Sampler):
    """The keys of every batch from one step to the last, so that a resumed run sees what it would have seen."""

    def __init__(self, first: int, last: int, batch: int) -> None:
        self.first, self.last, self.batch = first, last, batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yields one batch's keys at a time."""
        for step in range(self.first, self.last):
            yield [(step, slot) for slot in range(self.batch)]

    def __len__(self) -> int:
        return max(0, self.last - self.first)
