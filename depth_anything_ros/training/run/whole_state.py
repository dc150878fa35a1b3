"""All of a run that changes while it lasts, gathered from all devices and put back on any number of them."""

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
"""Checkpoints hold whole tensors, so that a run may go on with another number of devices."""


def gather(objective: Objective, optimizer: Optimizer, average: MovingAverage | None) -> dict[str, Any]:
    """Network, optimizer, buffers and averaged weights; to be called by all devices."""
    network = objective.network
    state = {
        "network": get_model_state_dict(network, options=WHOLE),
        "optimizer": get_optimizer_state_dict(network, optimizer, options=WHOLE),
        "buffers": snapshot(dict(objective.named_buffers())),  # computed when training began
    }
    if average:
        with average.applied():  # copied, since on a processor these are the parameters themselves
            state["average"] = snapshot(get_model_state_dict(network, options=WHOLE))
    return state


def put_back(state: dict[str, Any], objective: Objective, optimizer: Optimizer, average: MovingAverage | None) -> None:
    """What `gather` gave, on all devices."""
    network, whole = objective.network, StateDictOptions(full_state_dict=True)
    if average:
        set_model_state_dict(network, state["average"], options=whole)
        average.restart()
    set_model_state_dict(network, state["network"], options=whole)
    set_optimizer_state_dict(network, optimizer, state["optimizer"], options=whole)
    for name, buffer in objective.named_buffers():
        buffer.copy_(state["buffers"][name])
