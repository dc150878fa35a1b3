"""Datasets with depth for training: the paper's six, and the synthetic and metric ones of its second version.

To add a dataset with depth, declare a `DepthSet` here and add it to `LABELED`. Counts come from table 1 of the paper
and table 7 of V2, or from the owners if the paper uses the whole dataset.
"""

from __future__ import annotations

from depth_anything_ros.data.camera_files import NumbersFile
from depth_anything_ros.data.depth_files import (
    AlongTheRay,
    DisparityPicture,
    ExrDisparity,
    Hdf5Array,
    NumpyArray,
    Picture,
    PortableFloatMap,
)
from depth_anything_ros.data.depth_set import DepthSet, Mask
from depth_anything_ros.data.splits import EIGEN_TEST_DRIVES, TRAIN, ByList, OneSplit, SceneTable

BLENDED_MVS = DepthSet(
    name="blendedmvs",
    title="BlendedMVS and BlendedMVG (Yao et al., CVPR 2020)",
    terms="CC BY 4.0",
    homepage="https://github.com/YoYo000/BlendedMVS",
    images="{scene}/blended_images/{frame}.jpg",
    fields={"frame": r"\d{8}"},
    depths="{scene}/rendered_depth_maps/{frame}.pfm",
    read_depth=PortableFloatMap(),
    is_metric=False,
    camera=None,
    count=115_000,
    pitfalls="Depth is in the unit of each scene, not in meters. NNNNNNNN_masked.jpg, with a black background, is "
    "skipped. Incomplete meshes give empty depth maps.",
)

DIML_INDOOR = DepthSet(
    name="diml_indoor",
    title="DIML/CVL RGB-D, indoor, full release (Cho et al., 2021)",
    terms="research",
    homepage="https://dimlrgbd.github.io",
    images="{folder*}/col/{frame}_c.png",
    depths="{folder*}/up_png/{frame}_ud.png",
    read_depth=Picture(0.001),
    count=220_000,
    pitfalls="up_png is filled and enlarged, warp_png is the depth of the Kinect. Intrinsics are not published.",
)

DIML_OUTDOOR = DepthSet(
    name="diml_outdoor",
    title="DIML/CVL RGB-D, outdoor, full release (Cho et al., 2021)",
    terms="research",
    homepage="https://dimlrgbd.github.io",
    images="{folder*}/left/{frame}_left.png",
    depths="{folder*}/depth/{frame}_depth.png",
    read_depth=Picture(0.001),
    masks=(Mask("{folder*}/conf/{frame}_conf.png", least=153),),
    count=927_000,
    pitfalls="Depth comes from stereo matching and is poor (V2 of the paper, table 6). Pixels with confidence below "
    "0.6 of 255 are skipped; the report recommends 0.9 for some uses. Intrinsics are not published.",
)

HRWSI = DepthSet(
    name="hrwsi",
    title="HR-WSI (Xian et al., CVPR 2020)",
    terms="research only",
    homepage="https://kexianhust.github.io/Structure-Guided-Ranking-Loss",
    images="{split}/imgs/{frame}.jpg",
    depths="{split}/gts/{frame}.png",
    read_depth=DisparityPicture(),
    masks=(Mask("{split}/valid_masks/{frame}.png"),),
    is_metric=False,
    count=20_378,
    pitfalls="Disparity of web stereo, of unknown scale and shift: 1 / value is not depth in any unit. The sky has "
    "the smallest disparity, which is not always 0.",
)

IRS = DepthSet(
    name="irs",
    title="IRS (Wang et al., ICME 2021)",
    terms="not stated",
    homepage="https://github.com/HKBU-HPML/IRS",
    images="{place}/{scene}/l_{frame}.png",
    fields={"frame": r"\d+"},
    depths="{place}/{scene}/d_{frame}.exr",
    read_depth=ExrDisparity(480.0 * 0.1),
    camera=(480.0, 480.0, 479.5, 269.5),
    count=103_316,
    pitfalls="Disparity in pixels; the baseline is 0.1 m in most scenes, according to the owner. Some files have "
    "another size than their image and are rejected.",
)

MEGADEPTH = DepthSet(
    name="megadepth",
    title="MegaDepth v1 (Li and Snavely, CVPR 2018)",
    terms="CC BY 4.0",
    homepage="https://www.cs.cornell.edu/projects/megadepth",
    images="{scene}/dense{part}/imgs/{frame}.{ending}",
    fields={"part": r"\d+", "ending": "(?i:jpe?g|png)"},
    depths="{scene}/dense{part}/depths/{frame}.h5",
    read_depth=Hdf5Array("depth"),
    is_metric=False,
    count=128_000,
    pitfalls="The scale is that of each reconstruction. About a quarter of the .h5 files contain an order of "
    "foreground and background instead of depth. They have negative values and are rejected. v1 has no intrinsics.",
)

TARTANAIR = DepthSet(
    name="tartanair",
    title="TartanAir (Wang et al., IROS 2020)",
    terms="CC BY 4.0",
    homepage="https://theairlab.org/tartanair-dataset",
    images="{folder*}/{trajectory}/image_left/{frame}_left.png",
    fields={"trajectory": r"P\d{3}"},
    depths="{folder*}/{trajectory}/depth_left/{frame}_left_depth.npy",
    read_depth=NumpyArray(sky_from=1000.0),
    camera=(320.0, 320.0, 320.0, 240.0),
    count=306_000,
    pitfalls="The sky is some 10000 m away. Archives unpack to ENVIRONMENT/ENVIRONMENT/Easy or to ENVIRONMENT/Easy.",
)

HYPERSIM = DepthSet(
    name="hypersim",
    title="Hypersim (Roberts et al., ICCV 2021)",
    terms="CC BY-SA 3.0",
    homepage="https://github.com/apple/ml-hypersim",
    images="{scene}/images/scene_cam_{camera}_final_preview/frame.{frame}.tonemap.jpg",
    depths="{scene}/images/scene_cam_{camera}_geometry_hdf5/frame.{frame}.depth_meters.hdf5",
    read_depth=AlongTheRay(Hdf5Array("dataset"), focal=886.81),
    camera=(886.81, 886.81, 511.5, 383.5),
    splits=SceneTable("metadata_images_split_scene_v1.csv", scene="scene_name", split="split_partition_name"),
    count=74_619,
    pitfalls="The files contain the distance along the ray; depth is computed with f = 886.81 at 1024x768. It is not "
    "exact for the few scenes with a shifted lens. Frame numbers have gaps, because bad frames were removed. Splits "
    "come from the owners' metadata_images_split_scene_v1.csv, next to the scenes.",
)

VIRTUAL_KITTI_2 = DepthSet(
    name="vkitti2",
    title="Virtual KITTI 2.0.3 (Cabon et al., 2020)",
    terms="CC BY-NC-SA 3.0",
    homepage="https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2",
    images="{scene}/{variation}/frames/rgb/Camera_{camera}/rgb_{frame}.jpg",
    depths="{scene}/{variation}/frames/depth/Camera_{camera}/depth_{frame}.png",
    read_depth=Picture(0.01, invalid=(0,), sky=(65535,)),
    camera=(725.0087, 725.0087, 620.5, 187.0),
    count=42_520,
    pitfalls="Unpack the archives of rgb and depth into one folder. Centimeters; 65535 is the sky. Metric "
    "training uses depth below 80 m.",
)

KITTI = DepthSet(
    name="kitti",
    title="KITTI raw with annotated depth (Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017)",
    terms="CC BY-NC-SA 3.0",
    homepage="https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_prediction",
    images="{date}/{date}_drive_{drive}_sync/image_{camera}/data/{frame}.png",
    fields={"date": r"\d{4}_\d{2}_\d{2}", "camera": "0[23]"},
    depths="{annotated}/{date}_drive_{drive}_sync/proj_depth/groundtruth/image_{camera}/{frame}.png",
    read_depth=Picture(1 / 256),
    camera=NumbersFile("{date}/calib_cam_to_cam.txt", at=(0, 5, 2, 6), after="P_rect_02:"),
    splits=ByList("{date}_drive_{drive}", EIGEN_TEST_DRIVES),
    count=92_750,
    pitfalls="Unpack raw and annotated data into one folder. value / 256 m. The first and last five frames of a drive "
    "have no depth. Papers score 697 images of the 28 drives in split test here; 45 of them have no depth. The "
    "folders train and val of the depth (field annotated) do not follow this split.",
)

NYUV2_SYNC = DepthSet(
    name="nyuv2_sync",
    title="NYUv2 video frames as BTS and ZoeDepth take them (Silberman et al., ECCV 2012)",
    terms="research",
    homepage="https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
    images="{scene}/rgb_{frame}.jpg",
    depths="{scene}/sync_depth_{frame}.png",
    read_depth=Picture(0.001),
    camera=(518.857901, 519.469611, 325.582449, 253.736166),
    splits=OneSplit(TRAIN),
    count=24_231,
    pitfalls="The images have a white border of some pixels. All are from training scenes; papers score nyuv2_labeled.",
)

LABELED = (
    *(BLENDED_MVS, DIML_INDOOR, DIML_OUTDOOR, HRWSI, IRS, MEGADEPTH, TARTANAIR),
    *(HYPERSIM, VIRTUAL_KITTI_2, KITTI, NYUV2_SYNC),
)
