"""Names of settings before release 0.2, so that runs of an earlier release can be read."""

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
"""From each earlier name to the present one. No present setting has an earlier name."""
_KINDS = {"labelled": "labeled", "unlabelled": "unlabeled"}
_IN_STATES = {"decisive": "fingerprint", "held_out": "validation"}


def with_present_names(settings: Any) -> Any:
    """Return a run's settings, nested plain values, with present names. Of the values only ``aligned_on`` changes."""
    if not isinstance(settings, dict):
        return settings
    renamed = {RENAMED.get(name, name): with_present_names(value) for name, value in settings.items()}
    if "aligned_on" in renamed:
        renamed["aligned_on"] = _KINDS.get(renamed["aligned_on"], renamed["aligned_on"])
    return renamed


def state_with_present_names(state: dict[str, Any]) -> dict[str, Any]:
    """Return a run's stored state with its outermost names as in this release."""
    return {_IN_STATES.get(name, name): value for name, value in state.items()}
