"""Miniatures of the training sets with depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from miniature_files import (
    HEIGHT,
    JPEG,
    NYU,
    WIDTH,
    Expected,
    numbers,
    pfm,
    picture,
    put,
    put_exr,
    put_hdf5,
    samples,
    unknown_at_zero,
)


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
        refused = "has negative values: it is the order of surfaces, not depth" if is_order else ""
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


LABELED = (
    blendedmvs,
    diml_indoor,
    diml_outdoor,
    hrwsi,
    irs,
    megadepth,
    tartanair,
    hypersim,
    vkitti2,
    kitti,
    nyuv2_sync,
)
