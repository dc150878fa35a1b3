"""Datasets with a class for each pixel. The paper fine-tunes its encoder on them.

To add one, declare a `SegmentationSet` here and add it to `SEGMENTATION`.
"""

from __future__ import annotations

from depth_anything_ros.data.segmentation import SegmentationSet

CITYSCAPES = SegmentationSet(
    name="cityscapes",
    title="Cityscapes, fine annotations (Cordts et al., CVPR 2016)",
    terms="non-commercial, by registration",
    homepage="https://www.cityscapes-dataset.com",
    images="leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png",
    fields={"split": "train|val"},
    labels="gtFine/{split}/{city}/{frame}_gtFine_labelIds.png",
    classes=(
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ),
    stored=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
    count=3475,
    pitfalls="labelIds, of which 19 are scored, not labelTrainIds, which must be generated. "
    "2975 images for training, 500 to score.",
)

ADE20K = SegmentationSet(
    name="ade20k",
    title="ADE20K, scene parsing challenge 2016 (Zhou et al., CVPR 2017)",
    terms="annotations BSD-3, images for research",
    homepage="http://sceneparsing.csail.mit.edu",
    images="images/{split}/{frame}.jpg",
    labels="annotations/{split}/{frame}.png",
    classes=tuple(str(number) for number in range(1, 151)),
    stored=tuple(range(1, 151)),
    count=22_210,
    pitfalls="0 is no class. Classes have the numbers of objectInfo150.txt. 20210 images for training, 2000 to score.",
)

SEGMENTATION = (ADE20K, CITYSCAPES)
