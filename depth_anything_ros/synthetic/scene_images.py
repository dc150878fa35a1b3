"""Rendered scenes as a dataset with depth, so that they are checked and packed into shards like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage, as_jpeg
from depth_anything_ros.data.image_set import SampleParts
from depth_anything_ros.synthetic.mesh_pack import MeshPack, open_pack
from depth_anything_ros.synthetic.render import render

FARTHEST = 200.0
"""Depth in meters from which on a surface counts as sky."""


def depth_with_sky(depth: np.ndarray) -> np.ndarray:
    """Return depth float32 (H, W) in meters with +Inf from `FARTHEST` on."""
    return np.where(depth < FARTHEST, depth, np.float32(np.inf))


@dataclass(frozen=True)
class RenderedScenes(DepthSet):
    """``count`` scenes of one ``size``, (height, width), and one ``kind``, or of all kinds; they need no folder.

    ``cameras`` is the prior of their views, one of `camera_prior.PRIORS`. ``meshes`` is the folder of a pack that
    furniture and objects may come from, or None.

    Scene number i has the seed ``first_seed`` + i. Its file is a JPEG of quality 95, not a PNG. At 640x480 that is a
    fifth of the bytes and a quarter of the time to decode. The mean error is one gray level, less than the grain that
    the renderer adds. The photographs that scenes are mixed with in training are JPEG too.
    """

    name: str = "rendered_scenes"
    title: str = "scenes rendered by this package"
    terms: str = "Apache-2.0"
    homepage: str = ""
    images: str = "scene_{number}"
    size: tuple[int, int] = (480, 640)
    first_seed: int = 0
    kind: str | None = None
    cameras: str = "robot"
    meshes: Path | None = None

    def origin(self, root: Path) -> str:
        """Return all that decides the scenes, except their number."""
        kind = f"of the kind {self.kind}" if self.kind else "of all kinds"
        views = f"{self.size[1]}x{self.size[0]}, {self.cameras} cameras{self._meshes()}"
        return f"scenes {kind}, {views}, from seed {self.first_seed}"

    def _pack(self) -> MeshPack | None:
        return open_pack(self.meshes) if self.meshes else None

    def _meshes(self) -> str:
        return f", meshes {self._pack().digest[:16]}" if self.meshes else ""

    def names(self, root: Path) -> Iterator[str]:
        """Yield scene_000000 and so on."""
        for number in range(self.count):
            yield f"scene_{number:06d}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Return the picture, RGB uint8 (H, W, 3)."""
        return self.read(root, name).image

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the picture as JPEG."""
        return "jpg", as_jpeg(self.read_image(root, name))

    def read(self, root: Path, name: str) -> LabeledImage:
        """Return the picture with its depth in meters and its camera. Raise `DataError` for an unknown name."""
        number = self._fields(name)["number"]
        if not (number.isdecimal() and int(number) < self.count):
            raise DataError(f"{name} is not among the {self.count} scenes")
        scene = render(
            self.first_seed + int(number),
            self.size[1],
            self.size[0],
            self.kind,
            cameras=self.cameras,
            meshes=self._pack(),
        )
        return LabeledImage(f"{self.name}/{name}", scene.image, depth_with_sky(scene.depth), scene.camera)

    def parts(self, root: Path, name: str) -> SampleParts:
        """Return file and frame of one rendering."""
        frame = self.read(root, name)
        return SampleParts("jpg", as_jpeg(frame.image), frame=frame)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return no files."""
        return ()

    def stamp(self, root: Path, name: str) -> str:
        """Return the renderer's code, the size, the seed, the kind, the prior of the cameras and the meshes."""
        return f"{_code()} {self.size} {self.first_seed} {self.kind} {self.cameras}{self._meshes()}"


@cache
def _code() -> str:
    """Return the SHA-256 of this folder's modules."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules)).hexdigest()
