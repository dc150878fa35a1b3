"""Complete benchmark datasets for `data check`, `data pack`, `train`, and the protocols of papers in `evaluate`.

A protocol in `evaluation/protocols` says which frames and pixels of a set count. To add a benchmark, declare it here,
add it to `PACKABLE_BENCHMARKS`, and add it to a protocol.
"""

from __future__ import annotations

from depth_anything_ros.data.camera_files import NumbersFile, SintelCamera
from depth_anything_ros.data.ddad import DdadSet
from depth_anything_ros.data.depth_files import NumpyArray, Picture, RawFloats, RotatedPicture, SintelDepth
from depth_anything_ros.data.depth_set import DepthSet, Mask
from depth_anything_ros.data.nyu_labeled import NyuLabeledSet
from depth_anything_ros.data.splits import TEST, OneSplit, SunSplits

NYUV2_LABELED = NyuLabeledSet(
    name="nyuv2_labeled",
    title="NYUv2, the labeled frames (Silberman et al., ECCV 2012)",
    terms="research",
    homepage="https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
    images="nyu_depth_v2_labeled.mat",
    camera=(518.857901, 519.469611, 325.582449, 253.736166),
    count=1449,
    pitfalls="rawDepths, not the filled depths: the difference is a fifth of AbsRel. Splits are trainNdxs and testNdxs "
    "of splits.mat, counted from 1. With splits.mat next to the file, the default is the test split.",
)

SINTEL = DepthSet(
    name="sintel",
    title="MPI Sintel, final pass, with depth (Butler et al., ECCV 2012)",
    terms="film CC BY 3.0, data for research",
    homepage="http://sintel.is.tue.mpg.de/depth",
    images="training/final/{scene}/{frame}.png",
    depths="training/depth/{scene}/{frame}.dpt",
    read_depth=SintelDepth(sky_from=1000.0),
    camera=SintelCamera("training/camdata_left/{scene}/{frame}.cam"),
    splits=OneSplit(TEST),
    count=1064,
    pitfalls="Unpack images and depth into one folder. Far backgrounds are thousands of meters away; papers ignore "
    "depth beyond 70 or 72 m.",
)

DDAD = DdadSet(
    name="ddad",
    title="DDAD (Guizilini et al., CVPR 2020)",
    terms="CC BY-NC-SA 4.0",
    homepage="https://github.com/TRI-ML/DDAD",
    images="ddad.json",
    count=3950,
    pitfalls="Camera and lidar of a sample have different stamps, each with its pose. Background points appear in the "
    "foreground. The side cameras see the car itself.",
)

ETH3D = DepthSet(
    name="eth3d",
    title="ETH3D, high-resolution multi-view, training (Schoeps et al., CVPR 2017)",
    terms="CC BY-NC-SA 4.0",
    homepage="https://www.eth3d.net",
    images="{scene}/images/dslr_images/{frame}.JPG",
    depths="{scene}/ground_truth_depth/dslr_images/{frame}.JPG",
    read_depth=RawFloats(),
    splits=OneSplit(TEST),
    count=454,
    pitfalls="The depth files have the ending .JPG but contain bare float32. They match the distorted images, not "
    "dslr_images_undistorted.",
)

DIODE = DepthSet(
    name="diode",
    title="DIODE (Vasiljevic et al., 2019)",
    terms="MIT",
    homepage="https://diode-dataset.org",
    images="{split}/{place}/{scene}/{scan}/{frame}.png",
    fields={"place": "indoors|outdoor", "scene": r"scene_\d+", "scan": r"scan_\d+"},
    depths="{split}/{place}/{scene}/{scan}/{frame}_depth.npy",
    read_depth=NumpyArray(),
    masks=(Mask("{split}/{place}/{scene}/{scan}/{frame}_depth_mask.npy"),),
    camera=(886.81, 927.06, 512.0, 384.0),
    count=771,
    pitfalls="771 are the validation frames, 325 indoors and 446 outdoor. Depth is noisy at edges although the mask "
    "marks it as valid. The owners' fy seems inconsistent with their field of view.",
)

SUN_RGBD = DepthSet(
    name="sun_rgbd",
    title="SUN RGB-D (Song et al., CVPR 2015)",
    terms="cite it and the four sets that it is made of",
    homepage="https://rgbd.cs.princeton.edu",
    images="{folder*}/image/{frame}.jpg",
    depths="{folder*}/depth/{depth_frame}.png",
    read_depth=RotatedPicture(0.001),
    camera=NumbersFile("{folder*}/intrinsics.txt", at=(0, 4, 2, 5)),
    splits=SunSplits(),
    count=10_335,
    pitfalls="Samples are rotated by three bits. depth is the sensor's, depth_bfx is filled. The part kv1/NYUdata is "
    "NYUv2. Splits come from allsplit.mat in the owners' SUNRGBDtoolbox, in or next to the folder.",
)

IBIMS1 = DepthSet(
    name="ibims1",
    title="iBims-1, core (Koch et al., 2018)",
    terms="CC BY-NC-SA 4.0",
    homepage="https://www.asg.ed.tum.de/lmf/ibims1",
    images="rgb/{frame}.png",
    depths="depth/{frame}.png",
    read_depth=Picture(50 / 65535),
    masks=(Mask("mask_invalid/{frame}.png"), Mask("mask_transp/{frame}.png")),
    camera=NumbersFile("calib/{frame}.txt", at=(0, 1, 2, 3)),
    splits=OneSplit(TEST),
    count=100,
    pitfalls="mask_invalid is 1 where depth is valid, mask_transp where nothing is transparent.",
)

PACKABLE_BENCHMARKS = (NYUV2_LABELED, SINTEL, DDAD, ETH3D, DIODE, SUN_RGBD, IBIMS1)
"""Benchmarks. `evaluate` scores on those that a protocol lists."""
