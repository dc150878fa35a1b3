"""The actions of two processes of torchrun in `test_ranks.py`; each writes its result to a JSON file."""

import json
import os
import sys
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.system.process_rank import find_task
from depth_anything_ros.training.distributed.devices import open_fabric
from depth_anything_ros.training.distributed.placement import choose_placement
from depth_anything_ros.training.distributed.ranks import check_same_steps, on_rank_zero
from depth_anything_ros.training.ema import MovingAverage
from depth_anything_ros.training.objectives.stage_objectives import RelativeObjective
from depth_anything_ros.training.run.checkpoints import StateError
from depth_anything_ros.training.settings import LossSettings, RunSettings


def wait_for_a_slow_disk(fabric: Fabric, folder: Path) -> dict:
    """Report whether the file of the first process exists when a process continues."""

    def write() -> None:
        time.sleep(0.3)
        (folder / "written").touch()

    on_rank_zero(fabric, write)
    return {"is_there": (folder / "written").exists()}


def fail_together(fabric: Fabric, folder: Path) -> dict:
    """Report the error of each process if the first cannot write."""
    try:
        on_rank_zero(fabric, (folder / "absent" / "file").touch)
    except (StateError, OSError) as error:
        return {"raised": type(error).__name__}
    return {}


def find_other_states(fabric: Fabric, folder: Path) -> dict:
    """Report the error of each process if they would resume from different steps."""
    check_same_steps(fabric, [7, 3], folder)
    try:
        check_same_steps(fabric, [7 + fabric.global_rank, 3], folder)
    except ValueError as error:
        return {"raised": str(error)}
    return {}


def validate_the_average(fabric: Fabric, folder: Path) -> dict:
    """Report the change of a sharded network after validation of its average."""
    torch.manual_seed(0)
    network = DepthAnything("tiny", "v2")
    module = fabric.setup_module(RelativeObjective(network, LossSettings()))
    average = MovingAverage(network, 0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    images = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    before = module(images)
    fabric.backward(before.sum())
    with torch.no_grad(), average.applied():
        averaged = module(images)
    after = module(images)
    return {"changed": (after - before).abs().max().item(), "average": (averaged - before).abs().max().item()}


ACTS = {"ddp": (wait_for_a_slow_disk, fail_together, find_other_states), "fsdp": (validate_the_average,)}

if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    placement, seen = choose_placement(find_task(os.environ), None, os.environ), {}
    for strategy, acts in ACTS.items():
        fabric = open_fabric(RunSettings(strategy=strategy, precision="32-true"), "cpu", placement)
        fabric.launch()
        seen |= {act.__name__: act(fabric, Path(folder)) for act in acts}
    Path(folder, f"seen_{fabric.global_rank}.json").write_text(json.dumps(seen))
