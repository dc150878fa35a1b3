"""Settings by the names that they had before release 0.2, for runs that began with an earlier release."""

from __future__ import annotations

from typing import Any

RENAMED = {
    "licence": "license",
    "optimiser": "optimizer",
    "encoder_rate": "encoder_lr",
    "decoder_rate": "decoder_lr",
    "warm_up": "warmup_steps",
    "clip": "grad_clip",
    "average": "ema_decay",
    "accumulate": "grad_accum_steps",
    "recompute": "activation_checkpointing",
    "labelled": "labeled",
    "unlabelled": "unlabeled",
    "labelled_images": "labeled_batch_size",
    "unlabelled_images": "unlabeled_batch_size",
    "held_out": "validation",
    "held_out_images": "validation_images",
    "perturbation": "augmentation",
    "labelled_perturbation": "labeled_augmentation",
    "colour_share": "color_share",
    "grey_share": "gray_share",
}
"""From each earlier name to the present one; no setting has one of the earlier names today."""
_KINDS = {"labelled": "labeled", "unlabelled": "unlabeled"}
_IN_STATES = {"decisive": "fingerprint", "held_out": "validation"}


def with_present_names(settings: Any) -> Any:
    """A run's settings, as plain nested values, by the names of today; other texts than ``aligned_on`` stay."""
    if not isinstance(settings, dict):
        return settings
    renamed = {RENAMED.get(name, name): with_present_names(value) for name, value in settings.items()}
    if "aligned_on" in renamed:
        renamed["aligned_on"] = _KINDS.get(renamed["aligned_on"], renamed["aligned_on"])
    return renamed


def state_with_present_names(state: dict[str, Any]) -> dict[str, Any]:
    """What a run has stored, its outermost names as today."""
    return {_IN_STATES.get(name, name): value for name, value in state.items()}
