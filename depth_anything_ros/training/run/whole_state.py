"""The changing state of a run, gathered from all devices and restored on any number of them."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from depth_anything_ros.training.ema import MovingAverage
from depth_anything_ros.training.objectives.stage_objectives import Objective
from depth_anything_ros.training.run.checkpoints import snapshot

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""States hold whole tensors, so that a run may resume on another number of devices."""


def gather_state(objective: Objective, optimizer: Optimizer, average: MovingAverage | None) -> dict[str, Any]:
    """Return network, optimizer, buffers and averaged weights. All devices call this together.

    Args:
        objective: has the network and the buffers.
        optimizer: of the network.
        average: of the network's weights, or None.
    """
    network = objective.network
    state = {
        "network": get_model_state_dict(network, options=WHOLE),
        "optimizer": get_optimizer_state_dict(network, optimizer, options=WHOLE),
        "buffers": snapshot(dict(objective.named_buffers())),  # computed when training began
    }
    if average:
        with average.applied():  # copied, because on a CPU these are the parameters themselves
            state["average"] = snapshot(get_model_state_dict(network, options=WHOLE))
    return state


def restore_state(
    state: dict[str, Any], objective: Objective, optimizer: Optimizer, average: MovingAverage | None
) -> None:
    """Restore what `gather_state` returned. All devices call this together.

    Args:
        state: from `gather_state`.
        objective: changed in place.
        optimizer: changed in place.
        average: changed in place, or None.
    """
    network, whole = objective.network, StateDictOptions(full_state_dict=True)
    if average:
        set_model_state_dict(network, state["average"], options=whole)
        average.restart()
    set_model_state_dict(network, state["network"], options=whole)
    set_optimizer_state_dict(network, optimizer, state["optimizer"], options=whole)
    for name, buffer in objective.named_buffers():
        buffer.copy_(state["buffers"][name])
