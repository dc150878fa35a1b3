"""The precision of a stage, if its configuration leaves the choice to the device."""

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
    """A value of `RunSettings.precision` other than "auto", and the reason for it; "" if it was configured."""

    name: str
    reason: str = ""


def native_precision(accelerator: str) -> Precision:
    """Return the precision that the device behind "auto", "cpu" or "cuda" computes fast: bfloat16 if it has that."""
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
    """Replace "auto" by a precision.

    A run that resumes keeps its precision on any device, since another precision would give another result. A warning
    reports a device that only emulates it.

    Args:
        configuration: the stage's settings.
        accelerator: "auto", "cpu" or "cuda".
        folder: the run's folder.

    Returns:
        The configuration, and the reason for its precision.

    Raises:
        ValueError: the folder's record is damaged.
    """
    if configuration.run.precision != "auto":
        return configuration, ""
    native, begun = native_precision(accelerator), stored_precision(folder)
    if begun is None:
        chosen = native
    else:
        chosen = Precision(begun, "precision of the run so far")
        if begun != "32-true" and begun != native.name:
            log.warning(
                "%s: the run's precision %s is emulated here and slow (%s); resume on the earlier kind of device, or "
                "start again in another folder",
                *(folder.root, begun, native.reason),
            )
    run = configuration.run.model_copy(update={"precision": chosen.name})
    return configuration.model_copy(update={"run": run}), f"auto: {chosen.reason}"


def stored_precision(folder: StageFolder) -> str | None:
    """Return the precision of the run with states in the folder; None without states or a record.

    Raises:
        ValueError: the record is damaged.
    """
    if not any(folder.states.glob("state_*.pt")) or not folder.record.exists():
        return None
    try:
        return json.loads(folder.record.read_text())[-1]["configuration"]["run"]["precision"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder.record} is damaged ({error}): set the run's precision with --set run.precision=..."
        ) from error


def check_same_precision(fabric: Fabric, precision: str) -> None:
    """Check that all processes of a run, on machines of several kinds, chose the same precision.

    Args:
        fabric: the devices.
        precision: this process's choice.

    Raises:
        ValueError: they differ.
    """
    gathered = fabric.all_gather(torch.tensor(float(precision == "bf16-mixed"), device=fabric.device))
    if gathered.min() != gathered.max():
        raise ValueError("only some machines of this run have bfloat16 arithmetic: set run.precision to 32-true")
