"""Rendered scenes packed into shards, for tests of training."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from depth_anything_ros.data.shards import pack
from depth_anything_ros.synthetic.scene_images import RenderedScenes


def pack_scenes(
    folder: Path, count: int, first_seed: int, size: tuple[int, int] = (126, 168), kind: str | None = None
) -> Path:
    """Render this many scenes of ``size`` (height, width), of one kind or all, and pack them, 20 per shard."""
    scenes = RenderedScenes(count=count, size=size, first_seed=first_seed, kind=kind)
    with ThreadPoolExecutor(2) as pool:
        list(pack(scenes, Path(), folder, 20, pool))
    return folder
