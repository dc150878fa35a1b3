"""What Hugging Face calls the models that are known here by another name."""

from __future__ import annotations

import re
from pathlib import Path

from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.record import ModelRecord

PLACES = {"indoor": "hypersim", "outdoor": "vkitti"}
"""The sets that metric models were fine-tuned on, by what `transformers`' names say instead."""

SIZES = {"small": "vits", "base": "vitb", "large": "vitl"}

_CACHED = re.compile(r"models--(?P<owner>[^-].*?)--(?P<name>.+)")
_OFFICIAL = re.compile(
    r"depth-anything(?P<version>-v2)?(?(version)(-metric-(indoor|outdoor))?)-(small|base|large)-hf", re.IGNORECASE
)


def known_by_hub_name(name: str) -> ModelRecord | None:
    """The model that a hub's identifier or address means, None where it means none that is known.

    Takes repositories of checkpoints and those of `transformers`' (``…-hf``), with or without the hub's address and a
    file, such as ``depth-anything/Depth-Anything-V2-Small-hf`` and ``LiheYoung/depth_anything_vitl14``.
    """
    name = re.sub(r"^(https?://)?huggingface\.co/", "", name.strip()).removeprefix("spaces/")
    owner, _, rest = name.partition("/")
    if owner.lower() not in ("depth-anything", "liheyoung") or not rest:
        return None
    words = re.split(r"[-_]", rest.partition("/")[0].removesuffix("-hf").lower())
    encoder = next((SIZES.get(word, word.removesuffix("14")) for word in words if word in SIZES or "vit" in word), None)
    if encoder is None or words[:2] != ["depth", "anything"]:
        return None
    if "metric" in words:
        place = next((PLACES.get(word, word) for word in words if word in {*PLACES, *PLACES.values()}), "")
        found = f"depth_anything_v2_metric_{place}_{encoder}"
    else:
        found = f"depth_anything_v2_{encoder}" if "v2" in words else f"depth_anything_{encoder}14"
    return known_models().get(found)


def hub_name_of(folder: Path) -> str | None:
    """The hub's identifier of the repository that a folder is a copy of, None where its name says none.

    Takes a snapshot in the cache of the hub's client (``models--OWNER--NAME/snapshots/COMMIT``), and a folder that is
    called as one of the official repositories for transformers, which ``git clone`` makes.
    """
    folder = folder.absolute()
    in_cache = _CACHED.fullmatch(folder.parents[1].name) if folder.parent.name == "snapshots" else None
    if in_cache:
        return f"{in_cache['owner']}/{in_cache['name']}"
    official = _OFFICIAL.fullmatch(folder.name)
    if official is None:
        return None
    return f"{'depth-anything' if official['version'] else 'LiheYoung'}/{folder.name}"
