"""Miniatures of the unlabeled image sets."""

from __future__ import annotations

from pathlib import Path

import lmdb
from miniature_files import JPEG, VIDEO, Expected, encoded, images_only, picture, put, put_tar, put_video


def bdd100k(root: Path) -> list[Expected]:
    expected = []
    for seed, name in enumerate(
        [
            "bdd100k_videos_train_00/bdd100k/videos/train/000d4f89-3bcbe37a.mov",
            "bdd100k_videos_val_00/bdd100k/videos/val/b1c66a42-6f7d68ca.mov",
        ]
    ):
        frames = [picture(100 * seed + number) for number in range(20)]  # two seconds
        put_video(root / name, frames)
        for number in range(0, 20, 5):
            expected.append(Expected(f"{name}#{100 * number}", frames[number], (name,), VIDEO))
    put(root / "bdd100k" / "info" / "100k" / "train" / "000d4f89-3bcbe37a.json", "{}")
    return expected


def bdd100k_stills(root: Path) -> list[Expected]:
    put(root / "bdd100k" / "images" / "10k" / "train" / "0004a4c0-d4dff0ad.jpg", picture(9))
    put(root / "bdd100k" / "labels" / "100k" / "train" / "0000f77c-6257be58.json", "{}")
    return images_only(
        root,
        [
            "bdd100k/images/100k/train/0000f77c-6257be58.jpg",
            "bdd100k/images/100k/val/b1c66a42-6f7d68ca.jpg",
            "bdd100k_images_100k/100k/test/cabc30fc-e7726578.jpg",  # as other mirrors wrap it
        ],
    )


def google_landmarks(root: Path) -> list[Expected]:
    put(root / "train.csv", "id,url,landmark_id\n")
    put(root / "train" / "attribution" / "x" / "y" / "not_sharded.jpg", picture(9))
    images = ("index", "0002ec3b5c2a1d9f"), ("train", "000a1b5c2a1d9f33"), ("train", "fa9be1722be31fc0")
    return images_only(root, [f"{split}/{one[0]}/{one[1]}/{one[2]}/{one}.jpg" for split, one in images])


def imagenet21k(root: Path) -> list[Expected]:
    put_tar(root / "n00004475.tar", {"n00004475_6590.JPEG": encoded(".jpg", picture(9))})
    put(root / "n02084071" / "n02084071_2.txt", "")
    expected = images_only(root, ["n00004475/n00004475_15899.JPEG", "n00004475/n00004475_6590.JPEG"])
    name = "n02084071/n02084071_1.JPEG"
    put(root / name, encoded(".png", picture(5)))  # some are PNG whatever they are called
    return [*expected, Expected(name, picture(5), (name,))]


def lsun(root: Path) -> list[Expected]:
    expected = []
    for category, count in (("bedroom_train", 2), ("bridge_val", 1), ("test", 1)):
        folder = root / f"{category}_lmdb"
        folder.mkdir(parents=True)
        with lmdb.open(str(folder), map_size=1 << 20) as database, database.begin(write=True) as transaction:
            for number in range(count):
                image = picture(10 * len(expected) + number)
                key = f"{7 * number + 1:040x}"
                transaction.put(key.encode(), encoded(".webp" if number == 0 else ".jpg", image))
                if category != "test":  # of which no networks are trained
                    file = f"{category}_lmdb/data.mdb"
                    expected.append(Expected(f"{file}#{key}", image, (file,), 2 * JPEG))
    return expected


def objects365(root: Path) -> list[Expected]:
    put(root / "annotations" / "zhiyuan_objv2_train.json", "{}")
    return images_only(
        root,
        [
            "train/patch0/objects365_v1_00000001.jpg",
            "train/patch16/objects365_v2_00900461.jpg",
            "val/images/v1/patch0/objects365_v1_00000002.jpg",
        ],
    )


def open_images(root: Path) -> list[Expected]:
    put(root / "train-images-boxable-with-rotation.csv", "ImageID,Subset\n")
    put(root / "train" / "montage.jpg", picture(9))
    put_tar(root / "train_0.tar.gz", {"train_0/000002b66c9c498e.jpg": encoded(".jpg", picture(9))})
    return images_only(
        root,
        [
            "train/000002b66c9c498e.jpg",
            "train_f/fffff2b66c9c498e.jpg",
            "validation/0001eeaf4aed83f9.jpg",
        ],
    )


def places365(root: Path) -> list[Expected]:
    put(root / "places365_train_standard.txt", "/a/airfield/00000001.jpg 0\n")
    return images_only(
        root,
        [
            "data_large/a/airfield/00000001.jpg",
            "data_large/b/bow_window/indoor/00000007.jpg",
            "val_large/Places365_val_00000001.jpg",
        ],
    )


def sa1b(root: Path) -> list[Expected]:
    expected = []
    for tar, numbers_inside in (("sa_000000", (1, 3)), ("sa_000020", (223750,))):
        members: dict[str, bytes] = {}
        for number in numbers_inside:
            image = picture(number)
            members[f"sa_{number}.jpg"] = encoded(".jpg", image)
            members[f"sa_{number}.json"] = b'{"image": {}, "annotations": [' + b" " * 9000 + b"]}"
            expected.append(Expected(f"{tar}.tar#sa_{number}.jpg", image, (f"{tar}.tar",), JPEG))
        put_tar(root / f"{tar}.tar", members)
    put_tar(root / "others.tar", {"sa_9.jpg": encoded(".jpg", picture(9))})
    put(root / "links.tsv", "file_name\tcdn_link\n")
    return expected


UNLABELED = (bdd100k, bdd100k_stills, google_landmarks, imagenet21k, lsun, objects365, open_images, places365, sa1b)
