"""All models known by name: the official Depth Anything checkpoints, the bundled model, and peers that can be fetched.

An official model has the name of its file, so the name in a launch file, on the hub and on disk is the same. Hashes
are those of the hub's large-file pointers. The giant V2 model was announced and never released; weights of that size
still load (`vitg`).
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from depth_anything_ros.zoo.peers import PEERS, POINT_MAPS
from depth_anything_ros.zoo.record import ModelFile, ModelRecord

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
"""Folder of the bundled model: its weights, its graphs and their `record.json`."""

SIZES = {"vits": "Small", "vitb": "Base", "vitl": "Large"}

V1_SHA256 = {
    "vits": "59afe57cfd9f4284deaf5b753d954723d7136ae842fba3e068ba03537ca1e60e",
    "vitb": "64ae214ae4e27424b644c49464c0aa243016f6f753d95097c8eb9ad0b9cb2d9b",
    "vitl": "6c6a383e33e51c5fdfbf31e7ebcda943973a9e6a1cbef1564afe58d7f2e8fe63",
}
V2_SHA256 = {
    "vits": "715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378",
    "vitb": "0d2b7002e62d39d655571c371333340bd88f67ab95050c03591555aa05645328",
    "vitl": "a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
}
HYPERSIM_SHA256 = {
    "vits": "b782898d8a3e8be1f639de33837ed85e9b4b73e40f8f5e5cd99067588d722545",
    "vitb": "9dc9e274c5eff55c6daf27b660c0ced0eca4e8593a6da90cdcb04d2b4d3f3fa2",
    "vitl": "6f82ff2bc543ac02ddff4aa31fa363676a8305dd3ccf04e80e2af115a044cb6d",
}
VKITTI_SHA256 = {
    "vits": "9203e538d35255c90dda4b7fedb47ff33fe725497bcca3b1e53b3a65ee63f0cb",
    "vitb": "4dad67a7cc10b462bca48e6b8569c762b8eb3c1adada170a3851a6d3ba37bb3e",
    "vitl": "239b1054a369e66da2576e9a118d6d7c12d90dc8ebe609579a9a09cd8e05fe38",
}

HYPERSIM_FOCAL = 886.81 * 518 / 768
"""598.1: Hypersim's focal length in pixels of its 1024x768 images, whose 768 rows training resizes to 518.

Training then crops 518x518, which does not change the focal length. The same holds for Virtual KITTI 2, whose images
are 1242x375. The focal lengths follow from the published datasets and resizing; no author states them for the weights.
"""
VKITTI_FOCAL = 725.0087 * 518 / 375
"""1001.5."""


class UnknownModelError(ValueError):
    """No model has this name. The message lists similar names, or all."""


def _version_1(encoder: str) -> ModelRecord:
    name = f"depth_anything_{encoder}14"
    return ModelRecord(
        name=name,
        output="inverse_depth",
        license="Apache-2.0",
        encoder=encoder,
        version="v1",
        # The checkpoints are in the demonstration's Space, hence the prefix.
        repository="spaces/LiheYoung/Depth-Anything",
        files=(ModelFile(f"checkpoints/{name}.pth", V1_SHA256[encoder]),),
        description=f"Depth Anything V1 {SIZES[encoder]} (arXiv 2401.10891)",
    )


def _version_2(encoder: str) -> ModelRecord:
    name = f"depth_anything_v2_{encoder}"
    return ModelRecord(
        name=name,
        output="inverse_depth",
        license=_version_2_license(encoder),
        encoder=encoder,
        version="v2",
        repository=f"depth-anything/Depth-Anything-V2-{SIZES[encoder]}",
        files=(ModelFile(f"{name}.pth", V2_SHA256[encoder]),),
        description=f"Depth Anything V2 {SIZES[encoder]} (arXiv 2406.09414)",
    )


def _version_2_metric(encoder: str, dataset: str, max_depth: float, focal: float, sha256: str) -> ModelRecord:
    name = f"depth_anything_v2_metric_{dataset.lower()}_{encoder}"
    scene = "indoor" if dataset == "Hypersim" else "outdoor"
    caveat = (
        ""
        if encoder == "vits"
        else "; its card says Apache-2.0, but it was fine-tuned from CC-BY-NC-4.0 weights and the stricter stands here"
    )
    return ModelRecord(
        name=name,
        output="depth",
        license=_version_2_license(encoder),
        encoder=encoder,
        version="v2",
        max_depth=max_depth,
        training_focal=focal,
        repository=f"depth-anything/Depth-Anything-V2-Metric-{dataset}-{SIZES[encoder]}",
        files=(ModelFile(f"{name}.pth", sha256),),
        description=f"Depth Anything V2 {SIZES[encoder]}, {scene} meters up to {max_depth:g} ({dataset}){caveat}; its "
        "training focal length is derived from the dataset's and the crop's size, not stated by its authors",
    )


def _version_2_license(encoder: str) -> str:
    return "Apache-2.0" if encoder == "vits" else "CC-BY-NC-4.0"


@cache
def known_models() -> dict[str, ModelRecord]:
    """Return the known models by name, with `tiny` if the package was installed with it.

    FastDepth, which is on no hub, is recognized by its file alone (`peers.record_of_peer`).

    They are read at the first call, not on import, so that a damaged file only affects callers that need it.

    Raises:
        RecordError: the bundled `record.json` is damaged; the message names it.
    """
    bundled = BUNDLED_FOLDER / "record.json"
    records = [ModelRecord.read(bundled)] if bundled.is_file() else []
    records += [_version_1(encoder) for encoder in SIZES]
    records += [_version_2(encoder) for encoder in SIZES]
    records += [_version_2_metric(e, "Hypersim", 20.0, HYPERSIM_FOCAL, HYPERSIM_SHA256[e]) for e in SIZES]
    records += [_version_2_metric(e, "VKITTI", 80.0, VKITTI_FOCAL, VKITTI_SHA256[e]) for e in SIZES]
    records += [record for record in PEERS if record.repository is not None or record.name in POINT_MAPS]
    return {record.name: record for record in records}


def find(name: str) -> ModelRecord:
    """Return the record of the model with this name.

    Raises:
        UnknownModelError: there is none; the message lists similar names, or all.
        RecordError: the bundled `record.json` is damaged.
    """
    models = known_models()
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, n=3)
    offer = f"did you mean {' or '.join(near)}?" if near else f"known models are {', '.join(models)}"
    raise UnknownModelError(f"no model has the name {name!r}: {offer}")


def is_bundled(record: ModelRecord) -> bool:
    """Return whether all the model's files came with the package."""
    return bool(record.files) and all((BUNDLED_FOLDER / file.name).is_file() for file in record.files)
