"""Networks by others that are scored next to ours. Their ONNX files contain no record."""

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
    """Return the record of a peer's ONNX file, or None. The SHA-256 identifies the file; its name does not matter."""
    if path.suffix != ".onnx" or not path.is_file():
        return None
    digest = sha256_of(path)
    return next((record for record in PEERS for file in record.files if file.sha256 == digest), None)
