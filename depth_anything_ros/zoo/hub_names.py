"""Hugging Face's names of models that have another name here."""

from __future__ import annotations

import re
from pathlib import Path

from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.peers import PEERS, UPSTREAM
from depth_anything_ros.zoo.record import ModelRecord

DATASETS = {"indoor": "hypersim", "outdoor": "vkitti"}
"""Fine-tuning datasets of metric models, by the words in `transformers`' names."""

SIZES = {"small": "vits", "base": "vitb", "large": "vitl"}

_CACHED = re.compile(r"models--(?P<owner>[^-].*?)--(?P<name>.+)")
_OFFICIAL = re.compile(
    r"depth-anything(?P<version>-v2)?(?(version)(-metric-(indoor|outdoor))?)-(small|base|large)-hf", re.IGNORECASE
)

_PEERS = {
    **{record.repository.lower(): record.name for record in PEERS if record.repository is not None},
    **{repository.lower(): name for repository, name in UPSTREAM.items()},
}


def find_by_hub_name(name: str) -> ModelRecord | None:
    """Return the known model that a hub identifier or address means, or None.

    Accepts repositories of checkpoints and of `transformers` (``…-hf``), with or without the hub's address and a file,
    such as ``depth-anything/Depth-Anything-V2-Small-hf``, ``LiheYoung/depth_anything_vitl14`` and
    ``depth-anything/DA3-SMALL``.
    """
    name = re.sub(r"^(https?://)?huggingface\.co/", "", name.strip()).removeprefix("spaces/")
    owner, _, rest = name.partition("/")
    if peer := _PEERS.get("/".join(name.lower().split("/")[:2])):
        return known_models().get(peer)
    if owner.lower() not in ("depth-anything", "liheyoung") or not rest:
        return None
    words = re.split(r"[-_]", rest.partition("/")[0].removesuffix("-hf").lower())
    encoder = next((SIZES.get(word, word.removesuffix("14")) for word in words if word in SIZES or "vit" in word), None)
    if encoder is None or words[:2] != ["depth", "anything"]:
        return None
    if "metric" in words:
        dataset = next((DATASETS.get(word, word) for word in words if word in {*DATASETS, *DATASETS.values()}), "")
        model = f"depth_anything_v2_metric_{dataset}_{encoder}"
    else:
        model = f"depth_anything_v2_{encoder}" if "v2" in words else f"depth_anything_{encoder}14"
    return known_models().get(model)


def hub_name_of(folder: Path) -> str | None:
    """Return the hub identifier of the repository that a folder is a copy of, or None.

    Accepts a snapshot in the cache of the hub's client (``models--OWNER--NAME/snapshots/COMMIT``), and a folder with
    the name of an official repository for transformers, from ``git clone``.
    """
    folder = folder.absolute()
    in_cache = _CACHED.fullmatch(folder.parents[1].name) if folder.parent.name == "snapshots" else None
    if in_cache:
        return f"{in_cache['owner']}/{in_cache['name']}"
    official = _OFFICIAL.fullmatch(folder.name)
    if official is None:
        return None
    return f"{'depth-anything' if official['version'] else 'LiheYoung'}/{folder.name}"
