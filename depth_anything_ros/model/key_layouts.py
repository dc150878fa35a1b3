"""Convert the parameter names of published Depth Anything weights and their relatives to the official names.

Official names are `pretrained.*` (DINOv2's names) and `depth_head.*`. The keys alone determine the layout.

A whole network is loaded only from a layout that keeps every tensor. `checkpoints.assign_weights` rejects tensors that
this network does not have, and lists them. A layout that drops tensors has a `rejection`: only its encoder is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from depth_anything_ros.model.weight_files import Weights

ENCODER_PREFIX = "pretrained."


@dataclass(frozen=True)
class KeyLayout:
    """One naming scheme of the parameters.

    Attributes:
        name: of the scheme, for messages.
        marker: a pattern for the start of a key that only this layout has.
        to_official: renames the weights.
        rejection: the reason why only the encoder can be loaded, or None.
    """

    name: str
    marker: str
    to_official: Callable[[Weights], Weights]
    rejection: str | None = None


def unwrap(stored: Any) -> Weights:
    """Return the weights inside a stored object, without the wrappers of training checkpoints, DDP and compile.

    Raises:
        ValueError: there is no dictionary of tensors.
    """
    for key in ("model", "state_dict", "teacher"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping) or not stored or not all(isinstance(v, Tensor) for v in stored.values()):
        raise ValueError("it has no dictionary of weights, neither at the top level nor under 'model'")
    return _renamed(stored, lambda key: re.sub(r"^(?:module\.|_orig_mod\.)+", "", key))


def _renamed(weights: Mapping[str, Tensor], name_of: Callable[[str], str]) -> Weights:
    """Rename the weights. Raises ValueError for a duplicate name."""
    renamed: Weights = {}
    for key, value in weights.items():
        name = name_of(key)
        if name in renamed:
            raise ValueError(f"it has {name} twice, the second time as {key}")
        renamed[name] = value
    return renamed


def detect_layout(weights: Weights) -> KeyLayout:
    """Return the layout of unwrapped weights.

    Raises:
        ValueError: the layout is unknown; the message shows a few keys.
    """
    for layout in LAYOUTS:
        if any(re.match(layout.marker, key) for key in weights):
            return layout
    supported = "; ".join(layout.name for layout in LAYOUTS)
    raise ValueError(f"its keys ({', '.join(sorted(weights)[:3])}, ...) match no supported layout ({supported})")


def _from_official(weights: Weights) -> Weights:
    return dict(weights)


def _encoder_of_official(weights: Weights) -> Weights:
    return {key: value for key, value in weights.items() if key.startswith(ENCODER_PREFIX)}


def _from_zoedepth(weights: Weights) -> Weights:
    return {key[len("core.core.") :]: value for key, value in weights.items() if key.startswith("core.core.")}


def _from_depth_anything_3(weights: Weights) -> Weights:
    prefix = "model.backbone."
    return {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}


def _from_dinov2(weights: Weights) -> Weights:
    """Rename DINOv2's bare names, or those of FSDP training: `blocks.chunk.block` counts blocks across all chunks."""
    official = {}
    for key, value in weights.items():
        key = re.sub(r"^backbone\.", "", key)
        if key.startswith(("dino_head.", "ibot_head.")):
            continue
        official[ENCODER_PREFIX + re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)] = value
    return official


HUGGING_FACE_NAMES = {
    "backbone.embeddings.position_embeddings": "pretrained.pos_embed",
    "backbone.embeddings.patch_embeddings.projection.": "pretrained.patch_embed.proj.",
    "backbone.embeddings.": "pretrained.",
    "backbone.layernorm.": "pretrained.norm.",
    "head.conv1.": "depth_head.scratch.output_conv1.",
    "head.conv2.": "depth_head.scratch.output_conv2.0.",
    "head.conv3.": "depth_head.scratch.output_conv2.2.",
}
HUGGING_FACE_BLOCK_NAMES = {
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.attention.": "attn.",
    "attention.output.dense.": "attn.proj.",
    "mlp.weights_in.": "mlp.w12.",
    "mlp.weights_out.": "mlp.w3.",
    # The names of transformers 5 in memory, and so in a pickled state_dict, differ from those in its files.
    "attention.q_proj.": "attn.query.",
    "attention.k_proj.": "attn.key.",
    "attention.v_proj.": "attn.value.",
    "attention.o_proj.": "attn.proj.",
    "mlp.down_proj.": "mlp.w3.",
}
MERGED = {
    ".attn.qkv.": (".attn.query.", ".attn.key.", ".attn.value."),
    ".mlp.w12.": (".mlp.gate_proj.", ".mlp.up_proj."),
}
"""Matrices that are separate in transformers and stacked in DINOv2, in the order of the stack."""


def _from_hugging_face(weights: Weights) -> Weights:
    """Rename transformers' weights: stack the separate matrices, reverse the order of the fusion layers."""
    official = _renamed(weights, _official_name)
    for merged, parts in MERGED.items():
        for first in [key for key in official if parts[0] in key]:
            names = [first.replace(parts[0], part) for part in parts]
            missing = [name for name in names if name not in official]
            if missing:
                raise ValueError(f"it has {first} but not {' and '.join(missing)}")
            official[first.replace(parts[0], merged)] = torch.cat([official.pop(name) for name in names])
    return official


def _from_hugging_face_encoder(weights: Weights) -> Weights:
    """Rename the weights of transformers' `Dinov2Model`. With a classifier, they have the prefix `dinov2.`."""
    prefixes = ("embeddings.", "encoder.", "layernorm.")
    bare = _renamed(weights, lambda key: key.removeprefix("dinov2."))
    return _from_hugging_face({f"backbone.{key}": value for key, value in bare.items() if key.startswith(prefixes)})


def to_hugging_face(official: Weights, names: Iterable[str]) -> Weights:
    """Return weights under transformers' names.

    Args:
        official: weights under official names.
        names: transformers' names to return.

    Raises:
        ValueError: a name has no counterpart in ``official``.
    """
    return {name: _part_of(official, _official_name(name), name) for name in names}


def _part_of(official: Weights, key: str, name: str) -> Tensor:
    """Return the official weight ``key``, or its part of a stacked matrix if transformers keeps it separate."""
    for merged, parts in MERGED.items():
        for index, part in enumerate(parts):
            if part in key and key.replace(part, merged) in official:
                return official[key.replace(part, merged)].chunk(len(parts))[index]
    if key not in official:
        raise ValueError(f"{name} has no counterpart among the official weights")
    return official[key]


def _official_name(key: str) -> str:
    """Return the official name of one of transformers' parameters; an unknown name is returned unchanged."""
    block = re.match(r"backbone\.encoder\.layer\.(\d+)\.(.*)", key)
    if block:
        return f"pretrained.blocks.{block[1]}.{_with_new_start(block[2], HUGGING_FACE_BLOCK_NAMES)}"
    level = re.match(r"neck\.reassemble_stage\.layers\.(\d)\.(projection|resize)\.(.*)", key)
    if level:
        return f"depth_head.{'projects' if level[2] == 'projection' else 'resize_layers'}.{level[1]}.{level[3]}"
    level = re.match(r"neck\.convs\.(\d)\.(.*)", key)
    if level:
        return f"depth_head.scratch.layer{int(level[1]) + 1}_rn.{level[2]}"
    fusion = re.match(r"neck\.fusion_stage\.layers\.(\d)\.(.*)", key)
    if fusion:
        name = fusion[2].replace("projection.", "out_conv.")
        name = re.sub(r"residual_layer([12])\.convolution([12])", r"resConfUnit\1.conv\2", name)
        return f"depth_head.scratch.refinenet{4 - int(fusion[1])}.{name}"
    return _with_new_start(key, HUGGING_FACE_NAMES)


def _with_new_start(key: str, names: Mapping[str, str]) -> str:
    """Return the key with the first matching start replaced."""
    for start, replacement in names.items():
        if key.startswith(start):
            return replacement + key[len(start) :]
    return key


LAYOUTS = (
    KeyLayout("Hugging Face transformers", r"backbone\.embeddings\.", _from_hugging_face),
    KeyLayout(
        "ZoeDepth with Depth Anything",
        r"core\.core\.",
        _from_zoedepth,
        rejection="its metric-bins head belongs to another network; load its encoder with load_encoder",
    ),
    KeyLayout(
        "Depth Anything 3",
        r"model\.backbone\.pretrained\.",
        _from_depth_anything_3,
        rejection="its head ends in an exponential and a sky branch that this network does not have; export it to ONNX "
        "with its own code and run that with a record, or load its encoder with load_encoder",
    ),
    # Before the next one, which has a head of the same name.
    KeyLayout(
        "this package's segmentation",
        r"head\.classifier\.",
        _from_official,
        rejection="it predicts classes, not depth; load its encoder with load_encoder",
    ),
    KeyLayout(
        "Video Depth Anything",
        r"(?:depth_)?head\.motion_modules\.",
        _encoder_of_official,
        rejection="its head attends to the frames before and after, and gives other depth without them; use an image "
        "model of Depth Anything V2 instead, or load its encoder with load_encoder",
    ),
    KeyLayout("official Depth Anything", r"depth_head\.", _from_official),
    KeyLayout(
        "an encoder with the official names",
        r"pretrained\.",
        _encoder_of_official,
        rejection="it has no Depth Anything head; load its encoder with load_encoder",
    ),
    KeyLayout(
        "DINOv2 in Hugging Face transformers",
        r"(?:dinov2\.)?embeddings\.",
        _from_hugging_face_encoder,
        rejection="it is an encoder without a head; load it with load_encoder",
    ),
    KeyLayout(
        "DINOv2",
        r"(?:backbone\.)?(?:patch_embed|blocks)\.",
        _from_dinov2,
        rejection="it is an encoder without a head; load it with load_encoder",
    ),
)
