"""Miniatures of the sets with a class for each pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from miniature_files import JPEG, Expected, picture, put, samples


def ade20k(root: Path) -> list[Expected]:
    expected = []
    for seed, (split, frame) in enumerate(
        [("training", "ADE_train_00000001"), ("training", "ADE_train_00020210"), ("validation", "ADE_val_00000001")]
    ):
        image, stored = picture(seed), samples(seed, 1, 150, np.uint8)
        stored[1, :2] = 1, 150
        name, file = f"images/{split}/{frame}.jpg", f"annotations/{split}/{frame}.png"
        put(root / name, image)
        put(root / file, stored)
        labels = np.where(stored == 0, 255, stored.astype(int) - 1)
        expected.append(Expected(name, image, (name, file), JPEG, labels=labels))
    put(root / "objectInfo150.txt", "Idx\tRatio\n")
    return expected


# labelIds of the 19 classes that are scored, from cityscapesScripts/helpers/labels.py.
CITYSCAPES_TRAIN_IDS = {
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9},
    **{23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
}


def cityscapes(root: Path) -> list[Expected]:
    expected = []
    for seed, (split, city, frame) in enumerate(
        [("train", "aachen", "000000_000019"), ("train", "zurich", "000121_000019"), ("val", "lindau", "000000_000019")]
    ):
        image, stored = picture(seed), samples(seed, 0, 33, np.uint8)
        stem = f"{split}/{city}/{city}_{frame}"
        name, file = f"leftImg8bit/{stem}_leftImg8bit.png", f"gtFine/{stem}_gtFine_labelIds.png"
        put(root / name, image)
        put(root / file, stored)
        for other in ("instanceIds", "color"):
            put(root / f"gtFine/{stem}_gtFine_{other}.png", stored)
        labels = np.vectorize(lambda value: CITYSCAPES_TRAIN_IDS.get(value, 255))(stored)
        expected.append(Expected(name, image, (name, file), labels=labels))
    put(root / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png", picture(9))
    return expected


SEGMENTATION = (ade20k, cityscapes)
