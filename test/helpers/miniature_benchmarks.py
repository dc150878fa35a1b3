"""Miniatures of the evaluation sets."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
from miniature_files import HEIGHT, JPEG, NYU, WIDTH, Expected, encoded, numbers, picture, put, samples, unknown_at_zero
from scipy.io import savemat


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
    """From a sensor to the world: a rotation about ``axis`` by ``angle``, then ``shift``."""

    axis: tuple[float, float, float]
    angle: float
    shift: tuple[float, float, float]

    @property
    def matrix(self) -> np.ndarray:
        """The rotation matrix, by Rodrigues' formula."""
        return cv2.Rodrigues(self.angle * np.array(self.axis) / np.linalg.norm(self.axis))[0]

    def to_dgp(self) -> dict[str, dict[str, float]]:
        """The rotation as a unit quaternion; proto3 omits numbers that are 0."""
        x, y, z = math.sin(self.angle / 2) * np.array(self.axis) / np.linalg.norm(self.axis)
        rotation = {"qw": math.cos(self.angle / 2), "qx": float(x), "qy": float(y), "qz": float(z)}
        translation = dict(zip("xyz", self.shift, strict=True))
        return {
            "rotation": {name: value for name, value in rotation.items() if value},
            "translation": {name: value for name, value in translation.items() if value},
        }


def ddad(root: Path) -> list[Expected]:
    """One training scene, two evaluation scenes; the lidar and each camera have poses of their own time."""
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
        image, millimeters = picture(seed), samples(seed, 500, 65535)
        stored = ((millimeters.astype(np.uint32) << 3) | (millimeters >> 13)).astype(np.uint16)  # turned left
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
        depth = unknown_at_zero(millimeters, millimeters / 1000)
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


BENCHMARKS = (nyuv2_labeled, sintel, ddad, eth3d, diode, sun_rgbd, ibims1)
