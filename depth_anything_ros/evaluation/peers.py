"""Networks of others that are scored beside ours, and whose ONNX files carry no record of their own."""

from __future__ import annotations

from pathlib import Path

from depth_anything_ros.zoo.cache import sha256_of
from depth_anything_ros.zoo.record import ModelFile, ModelRecord

FASTDEPTH = ModelRecord(
    name="fastdepth",
    output="depth",
    license="MIT",
    input="float_nchw",
    input_size=(224, 224),
    input_multiple=224,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    files=(
        ModelFile(
            "fastdepth_nyu_224x224.onnx",
            "f259d7d59828042922b3abcc5770f22c7f6065bf262b27359778a1a70a3d3239",
            (224, 224),
        ),
    ),
    description="FastDepth (Wofk et al., ICRA 2019), trained on NYUv2, 1.38 M parameters; meters",
)

PEERS = (FASTDEPTH,)


def record_of_peer(path: Path) -> ModelRecord | None:
    """The record of a peer's ONNX file, told by its SHA-256 whatever it is called; None for any other file."""
    if path.suffix != ".onnx" or not path.is_file():
        return None
    digest = sha256_of(path)
    return next((record for record in PEERS for file in record.files if file.sha256 == digest), None)
