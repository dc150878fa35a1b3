"""What a stage computes in where its configuration leaves that to the device."""

from __future__ import annotations

import json
import logging
from typing import NamedTuple

import torch
from lightning_fabric import Fabric

from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.cuda.driver import computes_bfloat16
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.run.folder import StageFolder

log = logging.getLogger(__name__)


class Precision(NamedTuple):
    """One of `RunSettings.precision` other than "auto", and why, in words that follow it; "" where it was named."""

    name: str
    reason: str = ""


def native_precision(accelerator: str) -> Precision:
    """What the device behind "auto", "cpu" or "cuda" computes fast: bfloat16 where that is not emulated."""
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        major, minor = torch.cuda.get_device_capability()
        name, native = torch.cuda.get_device_name(), computes_bfloat16(f"{major}.{minor}")
    else:
        name, native = f"this processor ({processor()})", processor().bf16
    if native:
        return Precision("bf16-mixed", f"{name} computes in bfloat16")
    return Precision("32-true", f"{name} has no bfloat16 arithmetic")


def settle_precision(
    configuration: StageConfiguration, accelerator: str, folder: StageFolder
) -> tuple[StageConfiguration, str]:
    """The configuration with a precision in the place of "auto", and why that one.

    A run that goes on keeps the precision that it began with, whatever it goes on with, and a warning says so where
    the device only emulates it: another one would give another result.

    Raises:
        ValueError: the folder's record is damaged.
    """
    if configuration.run.precision != "auto":
        return configuration, ""
    native, begun = native_precision(accelerator), begun_with(folder)
    if begun is None:
        chosen = native
    else:
        chosen = Precision(begun, "as the run began")
        if begun != "32-true" and begun != native.name:
            log.warning(
                "%s began in %s and goes on so, slowly: %s; go on where it began, or start anew in another folder",
                *(folder.root, begun, native.reason),
            )
    run = configuration.run.model_copy(update={"precision": chosen.name})
    return configuration.model_copy(update={"run": run}), f"auto: {chosen.reason}"


def begun_with(folder: StageFolder) -> str | None:
    """The precision of the run whose states lie in the folder; None where there are none, or nothing says it.

    Raises:
        ValueError: its record is damaged.
    """
    if not any(folder.states.glob("state_*.pt")) or not folder.record.exists():
        return None
    try:
        return json.loads(folder.record.read_text())[-1]["configuration"]["run"]["precision"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder.record} is damaged ({error}): say with --set run.precision what the run began with"
        ) from error


def check_all_compute_alike(fabric: Fabric, precision: str) -> None:
    """Raises ValueError where processes of one run, on machines of several kinds, settled on several precisions."""
    found = fabric.all_gather(torch.tensor(float(precision == "bf16-mixed"), device=fabric.device))
    if found.min() != found.max():
        raise ValueError(
            "some machines of this run have bfloat16 arithmetic and some have not: set run.precision to 32-true"
        )
