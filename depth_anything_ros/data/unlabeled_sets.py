"""Datasets without depth: the eight that the paper labels with its teacher, 62 million images in total.

To add a dataset without depth, declare an `ImageSet` here and add it to `UNLABELED`. Counts come from table 1 of the
paper.
"""

from __future__ import annotations

from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.lmdb_images import LmdbSet
from depth_anything_ros.data.video_set import VideoSet

BDD100K = VideoSet(
    name="bdd100k",
    title="BDD100K, videos (Yu et al., CVPR 2020)",
    terms="research and education; commercial for members of BDD",
    homepage="https://bdd-data.berkeley.edu",
    images="{folder*}/{video}.mov",
    seconds_apart=0.5,
    count=8_200_000,
    pitfalls="100 000 videos of 40 s; the 100 000 stills are one frame of each. Some have a rotation tag.",
)

BDD100K_STILLS = ImageSet(
    name="bdd100k_stills",
    title="BDD100K, 100k stills (Yu et al., CVPR 2020)",
    terms="research and education; commercial for members of BDD",
    homepage="https://bdd-data.berkeley.edu",
    images="{folder*}/100k/{split}/{frame}.jpg",
    count=100_000,
)

GOOGLE_LANDMARKS = ImageSet(
    name="google_landmarks",
    title="Google Landmarks v2 (Weyand et al., CVPR 2020)",
    terms="each image its own: CC BY, CC0 and public domain",
    homepage="https://github.com/cvdfoundation/google-landmark",
    images="{split}/{a}/{b}/{c}/{frame}.jpg",
    fields={"a": ".", "b": ".", "c": "."},
    count=4_132_914,
    pitfalls="Every archive of a split unpacks to the same a/b/c: unpack each split into a folder with its name.",
)

IMAGENET_21K = ImageSet(
    name="imagenet21k",
    title="ImageNet-21K, winter 2021 (Deng et al., CVPR 2009)",
    terms="research and education",
    homepage="https://image-net.org",
    images="{synset}/{frame}.JPEG",
    fields={"synset": r"n\d{8}"},
    count=13_100_000,
    pitfalls="Some .JPEG files are PNG or CMYK.",
)

LSUN = LmdbSet(
    name="lsun",
    title="LSUN, ten scene categories (Yu et al., 2015)",
    terms="not stated",
    homepage="https://www.yf.io/p/lsun",
    images="{category}_{split}_lmdb/data.mdb",
    fields={"split": "train|val"},
    count=9_800_000,
    pitfalls="LMDB of image files, mostly WebP with a shorter side of 256.",
)

OBJECTS365 = ImageSet(
    name="objects365",
    title="Objects365 v2 (Shao et al., ICCV 2019)",
    terms="annotations CC BY 4.0, images their owners'",
    homepage="https://www.objects365.org",
    images="{split}/{folder*}/{frame}.jpg",
    count=1_742_289,
    pitfalls="Validation images are one folder deeper, in images/v1 and v2.",
)

OPEN_IMAGES = ImageSet(
    name="open_images",
    title="Open Images V7 (Kuznetsova et al., IJCV 2020)",
    terms="images CC BY 2.0 as listed, annotations CC BY 4.0",
    homepage="https://storage.googleapis.com/openimages/web/index.html",
    images="{split}/{frame}.jpg",
    fields={"frame": "[0-9a-f]{16}"},
    count=7_800_000,
    pitfalls="The archives are split by the first letter: train_0 … train_f.",
)

PLACES365 = ImageSet(
    name="places365",
    title="Places365 (Zhou et al., TPAMI 2018)",
    terms="research",
    homepage="http://places2.csail.mit.edu",
    images="{folder*}/{frame}.jpg",
    count=6_500_000,
    pitfalls="The paper's count is that of the challenge release. data_256 is squeezed to squares: use data_large.",
)

SA_1B = TarSet(
    name="sa1b",
    title="SA-1B (Kirillov et al., ICCV 2023)",
    terms="SA-1B Dataset Research License",
    homepage="https://ai.meta.com/datasets/segment-anything",
    images="{tar}.tar",
    fields={"tar": r"sa_\d+"},
    count=11_185_362,
    pitfalls="Read from its archives, because unpacked they are 22 million files. Faces are blurred.",
)

UNLABELED = (
    *(BDD100K, BDD100K_STILLS, GOOGLE_LANDMARKS, IMAGENET_21K, LSUN, OBJECTS365, OPEN_IMAGES, PLACES365, SA_1B),
)
