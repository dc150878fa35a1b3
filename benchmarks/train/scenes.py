"""Measures the renderer of scenes: frames a second of one core's time, by kind, without and with meshes.

    python benchmarks/train/scenes.py [--size 336x252] [--frames 8] [--meshes PACK] [--json FILE]

Counts this process's processor time, so that other load on the machine changes little. The kernels are compiled before.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from depth_anything_ros.synthetic import pictures
from depth_anything_ros.synthetic.kinds import KINDS, WEIGHTS
from depth_anything_ros.synthetic.mesh_pack import MeshPack, open_pack
from depth_anything_ros.synthetic.render import render


def seconds(kind: str, frames: int, size: tuple[int, int], meshes: MeshPack | None) -> float:
    """Return the processor seconds of a frame, the mean over seeds.

    Args:
        kind: Kind of the scenes.
        frames: number of seeds.
        size: (width, height) of the image.
        meshes: a pack, or None.
    """
    drawn = pictures.atlas()
    started = time.process_time()
    for seed in range(frames):
        render(seed, *size, kind, pictures=drawn, meshes=meshes)
    return (time.process_time() - started) / frames


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="336x252", metavar="WxH", help="of the image (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="of each kind (default: %(default)s)")
    parser.add_argument("--meshes", type=Path, metavar="PACK", help="also measure scenes with this pack")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    packs = {"without": None} | ({"with": open_pack(arguments.meshes)} if arguments.meshes else {})
    for pack in packs.values():
        render(0, 32, 24, "room", pictures=pictures.atlas(), meshes=pack)
    found = {
        kind: {name: seconds(kind, arguments.frames, size, pack) for name, pack in packs.items()} for kind in KINDS
    }
    total = sum(WEIGHTS.values())
    found["as in training"] = {name: sum(WEIGHTS[kind] * found[kind][name] for kind in KINDS) / total for name in packs}
    print(f"frames/s and core, {arguments.size}: " + ", ".join(f"{name} meshes" for name in packs))
    for kind, row in found.items():
        print(f"{kind:>16}", *(f"{1.0 / value:8.2f}" for value in row.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": arguments.size, "seconds": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
