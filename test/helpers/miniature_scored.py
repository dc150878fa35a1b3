"""Miniatures of all sets that a protocol of papers names, by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from miniature_files import Builder, Expected, picture, put, samples
from miniature_sets import MINIATURES


def da2k(root: Path) -> list[Expected]:
    pair = {"point1": [24, 20], "point2": [2, 60], "closer_point": "point1"}
    put(root / "images" / "a.png", picture(0))
    put(root / "annotations.json", json.dumps({"images/a.png": [pair]}))
    return [Expected("images/a.png", picture(0), ("images/a.png",))]


def sevenscenes_redkitchen_30hz(root: Path) -> list[Expected]:
    for number in range(3):
        stem = f"frame-{number:06d}"
        put(root / f"{stem}.color.jpg", picture(number))
        put(root / f"{stem}.depth.png", samples(number, 400, 4000))
        pose = np.eye(4)
        pose[0, 3] = 0.01 * number
        put(root / f"{stem}.pose.txt", "\n".join(" ".join(map(str, row)) for row in pose))
    return []


SCORED: dict[str, Builder] = {
    **MINIATURES,
    "da2k": da2k,
    "sevenscenes_redkitchen_30hz": sevenscenes_redkitchen_30hz,
}
