"""Rendered scenes packed into shards, for tests of training."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from depth_anything_ros.training.rendering.scene_images import RenderedScenes

from depth_anything_ros.data.shards import pack


def pack_scenes(folder: Path, count: int, first_seed: int, size: tuple[int, int] = (84, 112)) -> Path:
    """Renders so many scenes of ``size`` (height, width) and packs them into shards of at most 20."""
    scenes = RenderedScenes(count=count, size=size, first_seed=first_seed)
    with ThreadPoolExecutor(2) as pool:
        list(pack(scenes, Path(), folder, 20, pool))
    return folder
