"""Networks by others, whose files contain no record of this package.

Only models that a product may ship are here: their weights are under the MIT or the Apache license. OptiGeo's encoder
is under the DINOv3 License as well, which has terms of its own. The hashes are those of the hub's large-file pointers.
A file without one is checked against the hub's, and pinned when it is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.zoo.cache import sha256_of
from depth_anything_ros.zoo.record import ModelFile, ModelRecord


@dataclass(frozen=True)
class PointMap:
    """The ports of a graph that predicts a point map, which `export.point_maps` makes a depth model of.

    Attributes:
        image: input, RGB float32 [N, 3, H, W] from 0 to 1.
        tokens: input with the number of patches, or None.
        patch: side of a patch, pixels.
        points: output [N, H, W, 3], camera axes, up to scale, and to a shift along z.
        mask: output [N, H, W], larger where a point is valid.
        threshold: of the mask.
        scale: output with the factor that makes meters of the points, or None.
    """

    image: str = "image"
    tokens: str | None = None
    patch: int = 14
    points: str = "points"
    mask: str = "mask"
    threshold: float = 0.5
    scale: str | None = None


NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""For networks that take RGB from 0 to 1, and normalize it themselves if they need that."""

FASTDEPTH = ModelRecord(
    name="fastdepth",
    output="depth",
    license="MIT",
    input="float_nchw",
    input_size=(224, 224),
    input_multiple=224,
    mean=NO_MEAN,
    std=NO_STD,
    files=(
        ModelFile(
            "fastdepth_nyu_224x224.onnx",
            "f259d7d59828042922b3abcc5770f22c7f6065bf262b27359778a1a70a3d3239",
            (224, 224),
        ),
    ),
    description="FastDepth (Wofk et al., ICRA 2019), trained on NYUv2, 1.38 M parameters; meters",
)

MIDAS_SWIN2_TINY = ModelRecord(
    name="midas_v31_swin2_tiny",
    output="inverse_depth",
    license="MIT",
    input="float_nchw",
    input_size=(256, 256),
    input_multiple=256,
    mean=NO_MEAN,
    std=NO_STD,
    repository="julienkay/sentis-MiDaS",
    files=(
        ModelFile(
            "onnx/dpt_swin2_tiny_256.onnx",
            "9590c809dbd1930b020762f22160e75eae388bd8cc65b779c47fdd689618d804",
            (256, 256),
        ),
    ),
    description="MiDaS v3.1 Swin2-T (arXiv 2307.14460), 42 M parameters, exported by julienkay, whose own program "
    "feeds it RGB from 0 to 1; inverse depth up to scale and shift",
)

DA3_SMALL = ModelRecord(
    name="da3_small",
    output="depth",
    license="Apache-2.0",
    scale="depth_scale",
    input_size=(518, 518),
    repository="zerochocobo/DepthAnything3_ONNX",
    files=(
        ModelFile("da3_small.onnx", "d659ca25f1c665d5c064a64294d5fd0303e456aa94bf224a7777d9682cac7a39", (518, 518)),
    ),
    description="Depth Anything 3 Small (arXiv 2511.10647), 26 M parameters, exported by zerochocobo for one view; "
    "depth up to scale",
)

DA3_BASE = ModelRecord(
    name="da3_base",
    output="depth",
    license="Apache-2.0",
    scale="depth_scale",
    input="float_nchw",
    input_size=(504, 504),
    confidence="depth_conf",
    repository="Heliosoph/da3-base-onnx",
    files=(ModelFile("model.onnx", None, (504, 504)),),
    description="Depth Anything 3 Base (arXiv 2511.10647), 105 M parameters, exported by Heliosoph for one view; "
    "depth up to scale",
)

DA3_METRIC_LARGE = ModelRecord(
    name="da3_metric_large",
    output="depth",
    license="Apache-2.0",
    canonical_focal=300.0,
    input="float_nchw",
    input_size=(504, 504),
    repository="Heliosoph/da3metric-large-onnx",
    files=(ModelFile("model.onnx", "ba0fd3c613901450c60f29ca7be63512ff06d0b8cd1601a60f4918726ea1a9cb", (504, 504)),),
    description="Depth Anything 3 Metric Large (arXiv 2511.10647), 334 M parameters, exported by Heliosoph; meters are "
    "the output times f / 300, where f is the mean of fx and fy in pixels of the 504x504 input (apply_metric_scaling "
    "in its code). The second output is sky; depth means nothing there",
)

MOGE_2_SMALL = ModelRecord(
    name="moge_2_vits",
    output="depth",
    license="MIT",
    input="float_nchw",
    input_size=(476, 476),
    mean=NO_MEAN,
    std=NO_STD,
    repository="Ruicheng/moge-2-vits-normal-onnx",
    files=(ModelFile("model.onnx", "24eacb5dc7a2c54c7bc98f7de085ffbed79ad006ea5b664c2c2cdc02ff3a52f0"),),
    description="MoGe-2 Small (arXiv 2507.02546), 35 M parameters, with a DINOv2 encoder (Apache-2.0), exported by its "
    "authors; meters for any lens, because the points tell the focal length. `build` makes a depth model of its graph",
)

OPTIGEO = ModelRecord(
    name="optigeo",
    output="depth",
    license="MIT AND LicenseRef-DINOv3",
    scale="depth_scale",
    input="float_nchw",
    input_size=(480, 480),
    input_multiple=16,
    mean=NO_MEAN,
    std=NO_STD,
    files=(ModelFile("optigeo.onnx"),),
    description="OptiGeo (arXiv 2608.29881), 30 M parameters, with a DINOv3 encoder; depth up to scale. Its authors "
    "publish weights (mxliu-hku/OptiGeo), but no graph: export it with their code for 480x640 and 1200 tokens, with "
    "the input `image` and the outputs `points` and `mask`. `build` makes a depth model of that graph",
)

PEERS = (FASTDEPTH, MIDAS_SWIN2_TINY, DA3_SMALL, DA3_BASE, DA3_METRIC_LARGE, MOGE_2_SMALL, OPTIGEO)

POINT_MAPS = {MOGE_2_SMALL.name: PointMap(tokens="num_tokens", scale="scale"), OPTIGEO.name: PointMap(patch=16)}
"""Peers whose graph predicts points, by name."""

MEGABYTES = {
    "midas_v31_swin2_tiny": 165,
    "da3_small": 101,
    "da3_base": 394,
    "da3_metric_large": 1337,
    "moge_2_vits": 141,
}
"""Sizes of the downloads, by model."""

UPSTREAM = {
    "depth-anything/DA3-SMALL": "da3_small",
    "depth-anything/DA3-BASE": "da3_base",
    "depth-anything/DA3METRIC-LARGE": "da3_metric_large",
    "Ruicheng/moge-2-vits-normal": "moge_2_vits",
}
"""Names of peers by the repositories of their authors, who publish no ONNX file."""


def record_of_peer(path: Path) -> ModelRecord | None:
    """Return the record of a peer's ONNX file, or None. The SHA-256 identifies the file; its name does not matter."""
    if path.suffix != ".onnx" or not path.is_file():
        return None
    digest = sha256_of(path)
    return next((record for record in PEERS for file in record.files if file.sha256 == digest), None)
