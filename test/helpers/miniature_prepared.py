"""Miniatures of benchmarks that others have prepared: MoGe's bundle, VOID, and the videos of Video Depth Anything."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from miniature_files import HEIGHT, JPEG, WIDTH, Builder, Expected, numbers, picture, put, samples, unknown_at_zero
from PIL import Image, PngImagePlugin

Matrix = list[list[float]]


def log_png(depth: np.ndarray, **texts: str) -> tuple[bytes, np.ndarray]:
    """The PNG of MoGe's `write_depth`, and what its `read_depth` makes of it, in float64."""
    near, far = float(np.nanmin(depth)), float(np.nanmax(np.where(np.isinf(depth), np.nan, depth)))
    share = np.log(np.nan_to_num(depth, nan=near, posinf=far).clip(near, far) / near) / np.log(far / near)
    stored = 1 + np.round(share.clip(0, 1) * 65533).astype(np.uint16)
    stored[np.isnan(depth)], stored[np.isinf(depth)] = 0, 65535
    texts = {"near": str(near), "far": str(far)} | texts
    info, content = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, value in texts.items():
        info.add_text(key, value)
    Image.fromarray(stored).save(content, "png", pnginfo=info, compress_level=7)
    t = (stored.astype(np.float64) - 1) / 65533
    read = near ** (1 - t) * far**t * float(texts.get("unit", 1))
    read[stored == 0], read[stored == 65535] = np.nan, np.inf
    return content.getvalue(), read.astype(np.float32)


def moge_sample(folder: Path, image: np.ndarray, depth: np.ndarray, k: Matrix, **texts: str) -> np.ndarray:
    """Write a sample of the bundle; returns its depth as stored."""
    content, read = log_png(depth, **texts)
    put(folder / "image.jpg", image)
    put(folder / "depth.png", content)
    put(folder / "meta.json", json.dumps({"intrinsics": k}))
    return read


def moge_bundle(root: Path, names: tuple[str, ...]) -> list[Expected]:
    expected = []
    for seed, name in enumerate(names):
        image, depth = picture(seed), numbers(seed, 0.6, 60)
        depth[:2, :5], depth[-1] = np.nan, np.inf
        fx, fy, cx, cy = 0.9 + 0.1 * seed, 1.7, 0.52, 0.47
        k = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        depth = moge_sample(root / name, image, depth, k, **({"unit": "2.5"} if seed == 1 else {}))
        put(root / name / "segmentation.png", np.zeros((HEIGHT, WIDTH), np.uint8))
        files = tuple(f"{name}/{file}" for file in ("image.jpg", "depth.png", "meta.json"))
        camera = (fx * WIDTH, fy * HEIGHT, cx * WIDTH - 0.5, cy * HEIGHT - 0.5)
        expected.append(Expected(files[0], image, files, JPEG, depth, camera))
    put(root / ".index.txt", "".join(f"{name}\n" for name in names))
    return expected


MOGE_NAMES = {
    "nyuv2": ("bathroom/rgb_00045", "kitchen/rgb_00001"),
    "kitti": ("2011_09_26_drive_0002_sync/image_02/0000000005", "2011_10_03_drive_0047_sync/image_02/0000000001"),
    "eth3d": ("pipes/DSC_0634", "courtyard/DSC_0286"),  # in no order
    "ibims1": ("corridor_01", "livingroom_14"),
    "gso": ("11pro_SL_TRX_FG", "2_of_Jenga"),
    "sintel": ("alley_1/frame_0001", "alley_1/frame_0002"),
    "ddad": ("000150/CAMERA_01/1", "000151/CAMERA_05/2"),
    "diode": ("indoors/scene_00019/a", "outdoor/scene_00022/b"),
    "spring": ("0001/left/0001", "0002/left/0009"),
    "hammer": ("scene2_traj1/000000", "scene2_traj1/000005"),
}


def _moge(name: str) -> Builder:
    def build(root: Path) -> list[Expected]:
        return moge_bundle(root, MOGE_NAMES[name])

    build.__name__ = f"moge_{name}"
    return build


def _void(points: int) -> Builder:
    def build(root: Path) -> list[Expected]:
        lists: dict[str, list[str]] = {"image": [], "sparse_depth": [], "ground_truth": [], "intrinsics": []}
        expected = []
        for seed, (sequence, frame) in enumerate(
            [("copyroom1", "1552.25"), ("copyroom1", "1552.5"), ("plants2", "9.1")]
        ):
            image, depth, sparse = picture(seed), samples(seed, 60, 1500), np.zeros((HEIGHT, WIDTH), np.uint16)
            rng = np.random.default_rng(points + seed)
            places = rng.choice(HEIGHT * WIDTH, min(points, 200), replace=False)
            sparse.flat[places] = rng.integers(60, 1500, len(places))
            files = [f"data/{sequence}/{part}/{frame}.png" for part in ("image", "ground_truth", "sparse_depth")]
            for file, content in zip(files, (image, depth, sparse), strict=True):
                put(root / file, content)
            k = f"data/{sequence}/K.txt"
            put(root / k, "5.4e+02 0 3.2e+02\n0 5.3e+02 2.4e+02\n0 0 1.0000e+00\n")
            put(root / f"data/{sequence}/validity_map/{frame}.png", (sparse > 0).astype(np.uint16) * 256)
            put(root / f"data/{sequence}/absolute_pose/{frame}.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n")
            for listed, file in zip(("image", "ground_truth", "sparse_depth", "intrinsics"), (*files, k), strict=True):
                lists[listed].append(f"void_{points}/{file}")
            known = (540.0, 530.0, 320.0, 240.0)
            named = (files[0], files[1], k, files[2])
            expected.append(Expected(files[0], image, named, 0, unknown_at_zero(depth, depth / 256), known))
        put(root / "data/stairs4/image/7.png", picture(9))  # of the training part
        for listed, lines in lists.items():
            put(root / f"test_{listed}.txt", "\n".join(lines) + "\n")
            put(root / f"train_{listed}.txt", "void_1500/data/stairs4/image/7.png\n")
        return expected

    build.__name__ = f"void_{points}"
    return build


def _listed_video(root: Path, listing: str, key: str, sequences: dict[str, list[dict]]) -> None:
    put(root / listing, json.dumps({key: [{name: items} for name, items in sequences.items()]}))


def _video(key: str, listing: str, factor: float, *, color: str = "rgb", ending: str = "png", around=(0, 0, 0, 0)):
    """Two sequences of two frames. ``around``: rows and columns of depth above, below, left and right of the image."""
    above, below, left, right = around

    def build(root: Path) -> list[Expected]:
        expected, sequences = [], {}
        for seed in range(4):
            sequence, number = f"scene_{seed // 2}", seed % 2
            name, file = f"{sequence}/{color}/{number:04d}.{ending}", f"{sequence}/depth/{number:04d}.png"
            image, stored = picture(seed), samples(seed, 2000, 40000)
            put(root / name, image)
            put(root / file, np.pad(stored, ((above, below), (left, right)), constant_values=999))
            sequences.setdefault(sequence, []).append({"image": name, "gt_depth": file, "factor": factor})
            depth = unknown_at_zero(stored, stored / factor)
            expected.append(Expected(name, image, (name, file, listing), JPEG if ending == "jpg" else 0, depth))
        put(root / "scene_1" / color / f"0009.{ending}", picture(9))  # beyond the list
        _listed_video(root, listing, key, sequences)
        return expected

    build.__name__ = f"video_{key}"
    return build


def video_scannet_tae(root: Path) -> list[Expected]:
    """Frames 10 and 11 of a scene are scored; K is 4x4, as ScanNet stores it."""
    k = [[577.6, 0, 318.9, 0], [0, 578.7, 242.7, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    expected, items = [], []
    for number in range(12):
        pose = np.eye(4)
        pose[0, 3] = 0.01 * number
        name, file = f"scene0707_00/color_origin/{number}.jpg", f"scene0707_00/depth/{number}.png"
        items.append({"image": name, "gt_depth": file, "factor": 1000.0, "K": k, "pose": pose.tolist()})
        if number >= 10:
            image, stored = picture(number), samples(number, 400, 9000)
            put(root / name, image)
            put(root / file, stored)
            depth, files = unknown_at_zero(stored, stored / 1000), (name, file, "scannet_video_tae.json")
            expected.append(Expected(name, image, files, JPEG, depth, (577.6, 578.7, 318.9, 242.7)))
    _listed_video(root, "scannet_video_tae.json", "scannet", {"scene0707_00": items})
    return expected


PREPARED = (
    *(_moge(name) for name in MOGE_NAMES),
    *(_void(points) for points in (150, 500, 1500)),
    _video("kitti", "kitti_video_500.json", 256.0, around=(0, 1, 0, 1)),
    _video("sintel", "sintel_video.json", 65535 / 650, color="clean"),
    _video("nyuv2", "nyuv2_video_500.json", 6000.0, ending="jpg", around=(45, 0, 41, 0)),
    _video("bonn", "bonn_video_500.json", 5000.0),
    _video("scannet", "scannet_video_500.json", 1000.0, color="color", ending="jpg", around=(8, 8, 11, 11)),
    video_scannet_tae,
)
