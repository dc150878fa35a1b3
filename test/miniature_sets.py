"""Every declared set in miniature: a few tiny frames, in the files, names and encodings that its owners publish.

A builder writes one set under a folder and says what its frames must be read as. Beside them it writes what the real
set has too and no reader may take for an image: other passes, masked copies, previews, lists, splits without depth.
What is expected is computed here from the owners' formulas, pixel by pixel, with nothing of the readers.
"""

from __future__ import annotations

import io
import json
import math
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import lmdb
import numpy as np
import OpenEXR
from scipy.io import savemat

HEIGHT, WIDTH = 32, 64
JPEG, VIDEO = 4, 16
"""How far a colour may be from what was written."""


@dataclass(frozen=True)
class Expected:
    """What a frame must be read as.

    ``image``: RGB, met within ``tolerance``. ``depth``: NaN where unknown, +Inf for the sky. ``camera``: fx, fy, cx,
    cy. ``labels``: classes. ``files``: what it is read from, the image first. ``refused``: what the error must say
    where a frame is in the set but can not be read.
    """

    name: str
    image: np.ndarray
    files: tuple[str, ...]
    tolerance: int = 0
    depth: np.ndarray | None = None
    camera: tuple[float, float, float, float] | None = None
    labels: np.ndarray | None = None
    refused: str = ""


Builder = Callable[[Path], list[Expected]]


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """RGB in four quadrants of four colours: told from its mirror images, and whole blocks of a JPEG or video."""
    colours = np.random.default_rng(seed).integers(30, 220, (2, 2, 3), dtype=np.uint8)
    return colours.repeat(height // 2, 0).repeat(width // 2, 1)


def numbers(seed: int, low: float, high: float) -> np.ndarray:
    """Float32 (H, W) between low and high, no two alike, so that rows and columns in another order are seen."""
    return np.random.default_rng(seed).uniform(low, high, (HEIGHT, WIDTH)).astype(np.float32)


def samples(seed: int, low: int, high: int, kind: type = np.uint16) -> np.ndarray:
    """The same in whole numbers, with three zeros at the top left."""
    values = np.random.default_rng(seed).integers(low, high, (HEIGHT, WIDTH), endpoint=True).astype(kind)
    values[0, :3] = 0
    return values


def unknown_at_zero(stored: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return np.where(stored == 0, np.nan, depth).astype(np.float32)


def encoded(ending: str, array: np.ndarray, *options: int) -> bytes:
    """A picture's file; three channels are RGB."""
    done, content = cv2.imencode(ending, array[..., ::-1] if array.ndim == 3 else array, options)
    assert done
    return content.tobytes()


def put(path: Path, content: bytes | str | np.ndarray) -> None:
    """Writes a file and the folders above: an array as its ending says, RGB where it has three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, np.ndarray) and path.suffix == ".npy":
        return np.save(path, content)
    elif isinstance(content, np.ndarray):
        content = encoded(path.suffix, content)
    path.write_bytes(content)
    return None


def pfm(depth: np.ndarray) -> bytes:
    """As MVSNet's tools write it: little-endian, rows from below."""
    return f"Pf\n{depth.shape[1]} {depth.shape[0]}\n-1.000000\n".encode() + depth[::-1].astype("<f4").tobytes()


def put_hdf5(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def put_exr(path: Path, **channels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))


def put_video(path: Path, frames: Sequence[np.ndarray], rate: float = 10.0) -> None:
    """MPEG-4, in the container that the ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
    assert writer.isOpened(), "OpenCV was built without an encoder of MPEG-4"
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def put_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def images_only(root: Path, names: Sequence[str]) -> list[Expected]:
    """Writes pictures under these names, and expects them as they are."""
    expected = []
    for seed, name in enumerate(names):
        put(root / name, picture(seed))
        expected.append(Expected(name, picture(seed), (name,), 0 if name.endswith(".png") else JPEG))
    return expected


def blendedmvs(root: Path) -> list[Expected]:
    expected = []
    for seed, (scene, frame) in enumerate(
        [("5a3ca9cb270f0e3f14d0eddb", 0), ("5a3ca9cb270f0e3f14d0eddb", 12), ("5bfe5ae0fe0ea555e6a969ca", 3)]
    ):
        image, depth = picture(seed), numbers(seed, 0.5, 4)
        depth[3, 5:9] = 0
        name, file = f"{scene}/blended_images/{frame:08d}.jpg", f"{scene}/rendered_depth_maps/{frame:08d}.pfm"
        put(root / name, image)
        put(root / scene / "blended_images" / f"{frame:08d}_masked.jpg", image)
        put(root / scene / "cams" / f"{frame:08d}_cam.txt", "extrinsic\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
        put(root / file, pfm(depth))
        expected.append(Expected(name, image, (name, file), JPEG, unknown_at_zero(depth, depth)))
    put(root / "5bfe5ae0fe0ea555e6a969ca" / "cams" / "pair.txt", "1\n0\n0\n")
    put(root / "5bfe5ae0fe0ea555e6a969ca" / "blended_images" / "00000004.jpg", picture(9))  # of which no depth was made
    put(root / "BlendedMVS_list.txt", "5a3ca9cb270f0e3f14d0eddb\n")
    return expected


def diml_indoor(root: Path) -> list[Expected]:
    expected = []
    for seed, (folder, frame) in enumerate(
        [
            ("01_library/16.01.21/2", "in_k_00_160121_000001"),  # some scenes lie a level higher than others
            ("03_claseeroom_1/1/16.01.20/1", "in_k_00_160120_000001"),
            ("03_claseeroom_1/1/16.01.20/1", "in_k_00_160120_000002"),
        ]
    ):
        image, stored = picture(seed), samples(seed, 400, 9000)
        name, file = f"{folder}/col/{frame}_c.png", f"{folder}/up_png/{frame}_ud.png"
        put(root / name, image)
        put(root / file, stored)
        put(root / folder / "warp_png" / f"{frame}_wd.png", samples(seed + 9, 400, 9000))
        expected.append(Expected(name, image, (name, file), depth=unknown_at_zero(stored, stored / 1000)))
    return expected


def diml_outdoor(root: Path) -> list[Expected]:
    expected = []
    for seed, (folder, frame) in enumerate([("170721_C0/1", "170721_C0_000001"), ("170721_C0/2", "170721_C0_000002")]):
        image, stored, trust = picture(seed), samples(seed, 2000, 60000), samples(seed, 0, 255, np.uint8)
        trust[5, :2] = 152, 153  # 0.6 of 255
        name, file, mask = (f"{folder}/{part}/{frame}_{part}.png" for part in ("left", "depth", "conf"))
        put(root / name, image)
        put(root / folder / "right" / f"{frame}_right.png", image)
        put(root / file, stored)
        put(root / mask, trust)
        depth = np.where((stored > 0) & (trust >= 153), stored / 1000, np.nan).astype(np.float32)
        assert np.isnan(depth[5, 0])
        assert np.isfinite(depth[5, 1])
        expected.append(Expected(name, image, (name, file, mask), depth=depth))
    return expected


def hrwsi(root: Path) -> list[Expected]:
    expected = []
    for seed, (split, frame) in enumerate([("train", "3DMOVIES_01"), ("train", "web_7"), ("val", "web_9")]):
        image, stored, trust = picture(seed), samples(seed, 1, 255, np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)
        trust[-1, -9:] = 0
        name, file, mask = f"{split}/imgs/{frame}.jpg", f"{split}/gts/{frame}.png", f"{split}/valid_masks/{frame}.png"
        for path, content in ((name, image), (file, stored), (mask, trust)):
            put(root / path, content)
        with np.errstate(divide="ignore"):
            depth = (255 / stored.astype(np.float64)).astype(np.float32)
        depth[trust == 0] = np.nan
        assert np.isposinf(depth[0, 0])
        expected.append(Expected(name, image, (name, file, mask), JPEG, depth))
    return expected


def irs(root: Path) -> list[Expected]:
    expected = []
    for seed, (folder, frame) in enumerate(
        [
            ("Home/ArchVizInterior03Data_1", "00001"),
            ("Home/ArchVizInterior03Data_1", "00002"),
            ("Restaurant/SCLRestaurant001_NightFall", "377"),  # an older release pads no numbers
        ]
    ):
        image, disparity = picture(seed), numbers(seed, 1, 90)
        disparity[2, 4] = 0
        name, file = f"{folder}/l_{frame}.png", f"{folder}/d_{frame}.exr"
        put(root / name, image)
        put(root / folder / f"r_{frame}.png", image)
        put_exr(root / file, G=disparity)
        put_exr(root / folder / f"n_{frame}.exr", R=disparity, G=disparity, B=disparity)
        with np.errstate(divide="ignore"):
            depth = unknown_at_zero(disparity, 480 * 0.1 / disparity)
        expected.append(Expected(name, image, (name, file), 0, depth, (480.0, 480.0, 479.5, 269.5)))
    return expected


def megadepth(root: Path) -> list[Expected]:
    expected = []
    for seed, (folder, frame) in enumerate(
        [
            ("0000/dense0", "1048362785_f2b5b7f3c5_o.jpg"),
            ("0000/dense1", "3062117532_8f3c7d7c5f_o.JPG"),
            ("0015/dense0", "496293253_5f26d9c2a4_o.jpg"),  # of which an order of surfaces was made, no depth
        ]
    ):
        image, depth = picture(seed), numbers(seed, 0.01, 40)
        depth[0, :4] = 0
        name, file = f"{folder}/imgs/{frame}", f"{folder}/depths/{Path(frame).stem}.h5"
        is_order = folder.startswith("0015")
        put(root / name, image)
        put_hdf5(root / file, depth=np.where(depth > 20, -1, 0).astype(np.float32) if is_order else depth)
        refused = "has values below 0, so it is no depth but the order of surfaces" if is_order else ""
        expected.append(Expected(name, image, (name, file), JPEG, unknown_at_zero(depth, depth), refused=refused))
    put(root / "0015" / "dense0" / "imgs" / "without_depth.jpg", picture(9))
    return expected


def tartanair(root: Path) -> list[Expected]:
    expected = []
    for seed, (folder, frame) in enumerate(
        [
            ("abandonedfactory/Easy/P000", "000000"),
            ("abandonedfactory/Easy/P000", "000001"),
            ("carwelding/carwelding/Hard/P001", "000000"),  # as some archives unpack
        ]
    ):
        image, depth = picture(seed), numbers(seed, 0.3, 80)
        depth[0] = 10000
        depth[1, 1] = 999
        depth = depth.astype(np.float16 if seed == 2 else np.float32)  # the owners write of both
        name, file = f"{folder}/image_left/{frame}_left.png", f"{folder}/depth_left/{frame}_left_depth.npy"
        put(root / name, image)
        put(root / file, depth)
        put(root / folder / "image_right" / f"{frame}_right.png", image)
        put(root / folder / "depth_right" / f"{frame}_right_depth.npy", depth)
        put(root / folder / "seg_left" / f"{frame}_left_seg.npy", np.zeros((HEIGHT, WIDTH), np.uint8))
        put(root / folder / "pose_left.txt", "0 0 0 0 0 0 1\n")
        depth = depth.astype(np.float32)
        depth[0] = np.inf
        expected.append(Expected(name, image, (name, file), 0, depth, (320.0, 320.0, 320.0, 240.0)))
    return expected


def hypersim(root: Path) -> list[Expected]:
    expected = []
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    along_axis = 886.81 / np.sqrt(x**2 + y**2 + 886.81**2)  # Marigold's formula, over the rays
    for seed, (scene, number, frame) in enumerate(
        [("ai_001_001", "00", "0000"), ("ai_001_001", "00", "0003"), ("ai_037_002", "01", "0000")]
    ):
        image, distance = picture(seed), numbers(seed, 0.5, 20).astype(np.float16)
        distance[0, :6] = np.nan
        distance[1, :2] = np.inf
        stem = f"{scene}/images/scene_cam_{number}"
        name = f"{stem}_final_preview/frame.{frame}.tonemap.jpg"
        file = f"{stem}_geometry_hdf5/frame.{frame}.depth_meters.hdf5"
        put(root / name, image)
        put(root / f"{stem}_final_preview" / f"frame.{frame}.color.jpg", image)
        put(root / f"{stem}_geometry_preview" / f"frame.{frame}.depth_meters.png", image)
        put_hdf5(root / f"{stem}_final_hdf5" / f"frame.{frame}.color.hdf5", dataset=image / 255)
        put_hdf5(root / f"{stem}_geometry_hdf5" / f"frame.{frame}.render_entity_id.hdf5", dataset=distance)
        put_hdf5(root / file, dataset=distance)
        depth = distance.astype(np.float64) * along_axis
        depth[1, :2] = np.nan
        camera = (886.81, 886.81, 511.5, 383.5)
        expected.append(Expected(name, image, (name, file), JPEG, depth.astype(np.float32), camera))
    return expected


def vkitti2(root: Path) -> list[Expected]:
    expected = []
    for seed, (scene, camera, frame) in enumerate(
        [("Scene01/clone", 0, "00000"), ("Scene01/clone", 1, "00000"), ("Scene20/15-deg-left", 0, "00836")]
    ):
        image, stored = picture(seed), samples(seed, 150, 60000)
        stored[1] = 65535
        folder, view = f"{scene}/frames", f"Camera_{camera}"
        name, file = f"{folder}/rgb/{view}/rgb_{frame}.jpg", f"{folder}/depth/{view}/depth_{frame}.png"
        put(root / name, image)
        put(root / file, stored)
        put(root / folder / "classSegmentation" / view / f"classgt_{frame}.png", image)
        put(
            root / scene / "intrinsic.txt",
            "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n0 0 725.0087 725.0087 620.5 187",
        )
        depth = unknown_at_zero(stored, stored / 100)
        depth[1] = np.inf
        expected.append(Expected(name, image, (name, file), JPEG, depth, (725.0087, 725.0087, 620.5, 187.0)))
    return expected


KITTI_CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_02: 1.392000e+03 5.120000e+02
K_02: 9.597910e+02 0.000000e+00 6.960217e+02 0.000000e+00 9.569251e+02 2.241806e+02 0.000000e+00 0.000000e+00 1.0
P_rect_00: 1.0 0.000000e+00 2.0 0.000000e+00 0.000000e+00 3.0 4.0 0.000000e+00 0.000000e+00 0.000000e+00 1.0 0.0
P_rect_02: {f} 0.000000e+00 {x} 4.485728e+01 0.000000e+00 {f} {y} 2.163791e-01 0.000000e+00 0.000000e+00 1.0 2.7e-03
P_rect_03: {f} 0.000000e+00 {x} -3.395242e+02 0.000000e+00 {f} {y} 2.199936e+00 0.000000e+00 0.000000e+00 1.0 2.7e-03
"""


def kitti(root: Path) -> list[Expected]:
    expected = []
    for seed, (split, date, drive, camera, frame) in enumerate(
        [
            ("train", "2011_09_26", "0001", "02", "0000000005"),
            ("train", "2011_09_26", "0001", "03", "0000000005"),
            ("val", "2011_10_03", "0047", "02", "0000000006"),
        ]
    ):
        image, stored = picture(seed), samples(seed, 500, 20480)
        stored[4, 6:60] = 0
        focal, x, y = (721.5377, 609.5593, 172.854) if date == "2011_09_26" else (718.856, 607.1928, 185.2157)
        folder = f"{date}/{date}_drive_{drive}_sync"
        name = f"{folder}/image_{camera}/data/{frame}.png"
        file = f"{split}/{date}_drive_{drive}_sync/proj_depth/groundtruth/image_{camera}/{frame}.png"
        calibration = f"{date}/calib_cam_to_cam.txt"
        put(root / name, image)
        put(root / file, stored)
        put(root / calibration, KITTI_CALIBRATION.format(f=f"{focal:e}", x=f"{x:e}", y=f"{y:e}"))
        put(root / folder / f"image_{camera}" / "data" / "0000000000.png", image)  # the first frames have no depth
        put(root / folder / "image_00" / "data" / f"{frame}.png", image[..., 0])
        put(root / folder / "velodyne_points" / "data" / f"{frame}.bin", bytes(16))
        put(root / file.replace("groundtruth", "velodyne_raw"), stored)
        depth = unknown_at_zero(stored, stored / 256)
        expected.append(Expected(name, image, (name, file, calibration), 0, depth, (focal, focal, x, y)))
    return expected


NYU = (518.857901, 519.469611, 325.582449, 253.736166)


def nyuv2_sync(root: Path) -> list[Expected]:
    expected = []
    for seed, (scene, frame) in enumerate([("bathroom_0001", 0), ("kitchen_0028b", 2), ("kitchen_0028b", 45)]):
        image, stored = picture(seed), samples(seed, 700, 10000)
        name, file = f"{scene}/rgb_{frame:05d}.jpg", f"{scene}/sync_depth_{frame:05d}.png"
        put(root / name, image)
        put(root / file, stored)
        expected.append(Expected(name, image, (name, file), JPEG, unknown_at_zero(stored, stored / 1000), NYU))
    put(root / "kitchen_0028b" / "rgb_00046.jpg", picture(9))
    put(root / "nyudepthv2_train_files_with_gt.txt", "/kitchen_0028b/rgb_00045.jpg None 518.8579\n")
    return expected


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


def nyuv2_labeled(root: Path) -> list[Expected]:
    images = np.stack([picture(seed) for seed in range(4)])
    depths = np.stack([numbers(seed, 0.7, 10) for seed in range(4)])
    raw = depths.copy()
    raw[:, 2, 3:6] = 0
    root.mkdir(parents=True)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file["images"] = images.transpose(0, 3, 2, 1)  # MATLAB's axes come last first
        file["depths"] = depths.transpose(0, 2, 1) + np.float32(1)  # filled, which is not to be read
        file["rawDepths"] = raw.transpose(0, 2, 1)
        file["labels"] = np.zeros((4, WIDTH, HEIGHT), np.uint16)
    test = np.array([[1], [3], [4]], np.uint16)
    savemat(root / "splits.mat", {"trainNdxs": np.array([[2]], np.uint16), "testNdxs": test})
    return [
        Expected(
            f"{number:04d}",
            images[number],
            ("nyu_depth_v2_labeled.mat",),
            depth=unknown_at_zero(raw[number], raw[number]),
            camera=NYU,
        )
        for number in (0, 2, 3)
    ]


def sintel(root: Path) -> list[Expected]:
    expected = []
    for seed, (scene, frame) in enumerate([("alley_1", 1), ("alley_1", 2), ("sleeping_1", 1)]):
        image, depth = picture(seed), numbers(seed, 0.2, 70)
        depth[0, :5] = 65000
        depth[1, 0] = 999
        focal = 688.0 + seed  # it zooms
        matrix = np.array([[focal, 0, 511.5], [0, focal + 1, 217.5], [0, 0, 1]])
        where = f"{scene}/frame_{frame:04d}"
        name, file, camera = (
            f"training/{part}/{where}.{ending}"
            for part, ending in (("final", "png"), ("depth", "dpt"), ("camdata_left", "cam"))
        )
        put(root / name, image)
        put(root / file, struct.pack("<fii", 202021.25, WIDTH, HEIGHT) + depth.astype("<f4").tobytes())
        put(root / camera, struct.pack("<f", 202021.25) + matrix.tobytes() + np.eye(3, 4).tobytes())
        for other in ("clean", "albedo", "depth_viz"):
            put(root / "training" / other / f"{where}.png", image)
        put(root / "test" / "final" / "ambush_3" / "frame_0001.png", image)
        depth[0, :5] = np.inf
        expected.append(Expected(name, image, (name, file, camera), 0, depth, (focal, focal + 1, 511.5, 217.5)))
    return expected


@dataclass(frozen=True)
class Pose:
    """From a sensor to the world: a turn about ``axis`` by ``angle``, then ``shift``."""

    axis: tuple[float, float, float]
    angle: float
    shift: tuple[float, float, float]

    @property
    def matrix(self) -> np.ndarray:
        """The turn, by Rodrigues' formula."""
        return cv2.Rodrigues(self.angle * np.array(self.axis) / np.linalg.norm(self.axis))[0]

    def to_dgp(self) -> dict[str, dict[str, float]]:
        """As a unit quaternion; proto3 leaves out numbers that are 0."""
        x, y, z = math.sin(self.angle / 2) * np.array(self.axis) / np.linalg.norm(self.axis)
        rotation = {"qw": math.cos(self.angle / 2), "qx": float(x), "qy": float(y), "qz": float(z)}
        translation = dict(zip("xyz", self.shift, strict=True))
        return {
            "rotation": {name: value for name, value in rotation.items() if value},
            "translation": {name: value for name, value in translation.items() if value},
        }


def ddad(root: Path) -> list[Expected]:
    """One scene to train on, two to score; the lidar and each camera have poses of their own moment."""
    camera = (70.0, 72.0, 31.0, 15.5)
    poses = [
        (Pose((1, -2, 0.5), 1.3, (12.0, -3.5, 1.25)), Pose((1, -2, 0.7), 1.4, (12.6, -3.1, 1.5))),
        (Pose((0, 0, 1), -2.2, (0.0, 40.0, 0.0)), Pose((0, 1, 0), 0.4, (0.0, 41.0, 0.0))),
    ]
    scenes, expected = {"0": ["000000"], "1": ["000150", "000151"]}, []
    for seed, scene in enumerate(["000000", "000150", "000151"]):
        of_camera, of_lidar = poses[seed % 2]
        stamp = f"{15616458249936530 + seed}"
        image, depth = picture(seed), np.full((HEIGHT, WIDTH), np.nan, np.float32)
        rng = np.random.default_rng(seed)
        places = rng.choice(HEIGHT * WIDTH, 60, replace=False)
        rows, columns, near = places // WIDTH, places % WIDTH, rng.uniform(3, 90, 60)
        depth[rows, columns] = near
        hidden = rng.uniform(1.2, 2, 20)  # the background through the foreground, in twenty of these pixels
        z = np.concatenate([near, near[:20] * hidden, [-5.0, 20.0, 20.0]])
        u = np.concatenate([columns, columns[:20], [10, -3, WIDTH]]) + 0.5  # behind, and beside the image
        v = np.concatenate([rows, rows[:20], [10, 10, 10]]) + 0.5
        in_camera = np.stack([(u - camera[2]) / camera[0] * z, (v - camera[3]) / camera[1] * z, z])
        in_world = of_camera.matrix @ in_camera + np.array(of_camera.shift)[:, None]
        in_lidar = of_lidar.matrix.T @ (in_world - np.array(of_lidar.shift)[:, None])
        folder = root / scene
        scan = np.column_stack([rng.permutation(in_lidar.T), np.ones(len(z))]).astype(np.float32)
        (folder / "point_cloud" / "LIDAR").mkdir(parents=True)
        np.savez_compressed(folder / "point_cloud" / "LIDAR" / f"{stamp}.npz", data=scan)
        data, keys = [], {}
        for sensor, pose in (("LIDAR", of_lidar), ("CAMERA_01", of_camera), ("CAMERA_05", of_lidar)):
            is_lidar = sensor == "LIDAR"
            file = f"point_cloud/LIDAR/{stamp}.npz" if is_lidar else f"rgb/{sensor}/{stamp}.png"
            if not is_lidar:
                put(folder / file, image if sensor == "CAMERA_01" else picture(50 + seed))
            keys[sensor] = f"{seed}{sensor}"
            content = {"filename": file, "pose": pose.to_dgp(), "annotations": {}}
            data.append(
                {
                    "key": keys[sensor],
                    "id": {"log": "", "name": sensor, "timestamp": "2019-06-27T16:34:09Z", "index": "0"},
                    "datum": {"point_cloud" if is_lidar else "image": content},
                }
            )
        calibration, listing = "4f8d1ba0" * 5, f"scene_{'ab12cd34' * 5}.json"
        sample = {"id": {}, "datum_keys": list(keys.values()), "calibration_key": calibration}
        put(folder / listing, json.dumps({"name": scene, "data": data[::-1], "samples": [sample]}))
        nothing, own = dict.fromkeys(("fx", "fy", "cx", "cy", "skew"), 0.0), dict(zip(CAMERA_KEYS, camera, strict=True))
        intrinsics = [nothing, {**own, "fx": 11.0}, own]
        names = ["LIDAR", "CAMERA_05", "camera_01"]
        put(folder / "calibration" / f"{calibration}.json", json.dumps({"names": names, "intrinsics": intrinsics}))
        if scene not in scenes["0"]:
            name = f"{scene}/rgb/CAMERA_01/{stamp}.png"
            inside = (listing, f"calibration/{calibration}.json", f"point_cloud/LIDAR/{stamp}.npz")
            files = (name, *(f"{scene}/{file}" for file in inside))
            expected.append(Expected(name, image, files, 0, depth, camera))
    splits = {
        split: {"filenames": [f"{scene}/scene_{'ab12cd34' * 5}.json" for scene in inside]}
        for split, inside in scenes.items()
    }
    put(root / "ddad.json", json.dumps({"metadata": {}, "scene_splits": splits}))
    return expected


CAMERA_KEYS = ("fx", "fy", "cx", "cy")


def eth3d(root: Path) -> list[Expected]:
    expected = []
    for seed, (scene, frame) in enumerate([("courtyard", 286), ("courtyard", 287), ("pipes", 634)]):
        image, depth = picture(seed), numbers(seed, 1, 30)
        depth[:, ::3] = np.inf
        name = f"{scene}/images/dslr_images/DSC_{frame:04d}.JPG"
        file = f"{scene}/ground_truth_depth/dslr_images/DSC_{frame:04d}.JPG"
        put(root / name, image)
        put(root / file, depth.astype("<f4").tobytes())
        put(root / scene / "images" / "dslr_images_undistorted" / f"DSC_{frame:04d}.JPG", image)
        put(root / scene / "dslr_calibration_jpg" / "cameras.txt", "# Camera list\n")
        depth = np.where(np.isinf(depth), np.float32(np.nan), depth)
        expected.append(Expected(name, image, (name, file), JPEG, depth))
    put(root / "pipes" / "images" / "dslr_images" / "DSC_0640.JPG", picture(9))
    return expected


def diode(root: Path) -> list[Expected]:
    expected = []
    for seed, (place, scene, scan, view) in enumerate(
        [
            ("indoors", "00019", "00183", "indoors_000_010"),
            ("indoors", "00019", "00183", "indoors_040_000"),
            ("outdoor", "00022", "00193", "outdoor_000_010"),
        ]
    ):
        image, depth, trust = picture(seed), numbers(seed, 0.6, 300), np.ones((HEIGHT, WIDTH))
        trust[-2, 7:13] = 0
        depth[-1, :3] = 0
        stem = f"val/{place}/scene_{scene}/scan_{scan}/{scene}_{scan}_{view}"
        name, file, mask = f"{stem}.png", f"{stem}_depth.npy", f"{stem}_depth_mask.npy"
        put(root / name, image)
        put(root / file, depth[..., None])
        put(root / mask, trust.astype(np.uint8 if seed == 1 else np.float64))
        put(root / f"{stem}_normal.npy", np.zeros((HEIGHT, WIDTH, 3)))
        depth = np.where((trust == 1) & (depth > 0), depth, np.float32(np.nan))
        expected.append(Expected(name, image, (name, file, mask), 0, depth, (886.81, 927.06, 512.0, 384.0)))
    put(root / "diode_meta.json", "{}")
    return expected


def sun_rgbd(root: Path) -> list[Expected]:
    expected = []
    for seed, (leaf, frame, depth_frame) in enumerate(
        [
            ("kv1/NYUdata/NYU0001", "NYU0001", "NYU0001"),
            ("kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize", "0000103", "0000103"),
            ("xtion/sun3ddata/brown_bm_1/brown_bm_1/0000001_rgb0000", "0000001-000000000000", "0000002-000000033369"),
        ]
    ):
        image, millimetres = picture(seed), samples(seed, 500, 65535)
        stored = ((millimetres.astype(np.uint32) << 3) | (millimetres >> 13)).astype(np.uint16)  # turned left
        fx, fy, cx, cy = 518.857901 + seed, 519.469611, 284.582449, 208.736166
        name, file = f"{leaf}/image/{frame}.jpg", f"{leaf}/depth/{depth_frame}.png"
        camera = f"{leaf}/intrinsics.txt"
        put(root / name, image)
        put(root / file, stored)
        put(root / camera, f"{fx} 0.000000 {cx} 0.000000 {fy} {cy} 0.000000 0.000000 1.000000\n")
        put(root / leaf / "depth_bfx" / f"{depth_frame}.png", stored + 8)
        put(root / leaf / "fullres" / f"{frame}.jpg", image)
        put(root / leaf / "fullres" / "intrinsics.txt", "1 0 1 0 1 1 0 0 1\n")
        put(root / leaf / "scene.txt", "office")
        depth = unknown_at_zero(millimetres, millimetres / 1000)
        expected.append(Expected(name, image, (name, file, camera), JPEG, depth, (fx, fy, cx, cy)))
    return expected


def ibims1(root: Path) -> list[Expected]:
    expected = []
    for seed, frame in enumerate(["corridor_01", "livingroom_14", "storageroom_08"]):
        image, stored = picture(seed), samples(seed, 1000, 65535)
        valid, opaque = np.ones((2, HEIGHT, WIDTH), np.uint8)
        valid[1, :4], opaque[2, :5] = 0, 0
        name, file, camera = f"rgb/{frame}.png", f"depth/{frame}.png", f"calib/{frame}.txt"
        masks = (f"mask_invalid/{frame}.png", f"mask_transp/{frame}.png")
        put(root / name, image)
        put(root / file, stored)
        put(root / camera, f"{559.3 + seed},{560.1},{319.2},{240.6}\n")
        for mask, values in zip(masks, (valid, opaque), strict=True):
            put(root / mask, encoded(".png", values, cv2.IMWRITE_PNG_BILEVEL, 1))
        put(root / "edges" / f"{frame}.png", valid)
        depth = np.where((stored > 0) & (valid == 1) & (opaque == 1), stored * 50.0 / 65535, np.nan)
        known = (559.3 + seed, 560.1, 319.2, 240.6)
        expected.append(Expected(name, image, (name, file, camera, *masks), 0, depth.astype(np.float32), known))
    put(root / "imagelist.txt", "corridor_01\n")
    return expected


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


MINIATURES: dict[str, Builder] = {
    builder.__name__: builder
    for builder in (
        *(blendedmvs, diml_indoor, diml_outdoor, hrwsi, irs, megadepth, tartanair, hypersim, vkitti2, kitti),
        *(nyuv2_sync, bdd100k, bdd100k_stills, google_landmarks, imagenet21k, lsun, objects365, open_images),
        *(places365, sa1b, nyuv2_labeled, sintel, ddad, eth3d, diode, sun_rgbd, ibims1, ade20k, cityscapes),
    )
}
"""The builder of each declared set, by the set's name."""
