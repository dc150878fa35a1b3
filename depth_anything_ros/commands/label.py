"""`depth_anything_ros label`: a teacher's pseudo-labels for packed images, by one process, several, or a cluster."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.own_share import choose_gpu, local_rank_of, own_task
from depth_anything_ros.data.manifest import MANIFEST, check_manifest
from depth_anything_ros.runtime.cuda.gpu_advice import unused_by_torch
from depth_anything_ros.system.atomic_file import atomic_write, describe_error
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.process_rank import Task, cores_of
from depth_anything_ros.system.progress import progress_bar
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest

if TYPE_CHECKING:
    from depth_anything_ros.pseudo_labels.chunks import Problem
    from depth_anything_ros.pseudo_labels.completion import Stamp
    from depth_anything_ros.pseudo_labels.folder import Labeling

log = logging.getLogger(__name__)

BATCH = {"cuda": 16, "cpu": 4}
"""Images in a batch, by device."""

INTERRUPTED = 130
"""Exit status after a request to stop, by Ctrl-C or SIGTERM."""
STOPPING = (
    "stop requested: ending after the current batch; finished shards are kept; run the same command to continue from "
    "there"
)

_EPILOG = """\
Each shard of images gets a shard of labels with the same name: KEY.depth.png, 16 bits of inverse depth over the label's
own range, and KEY.json. The same command continues an interrupted run. Several processes divide the shards. Their
numbers come from torchrun, srun or mpirun, or from RANK and WORLD_SIZE:

  torchrun --nproc-per-node 8 -m depth_anything_ros label SHARDS --teacher MODEL --output DIR
  srun --ntasks 8 depth_anything_ros label SHARDS --teacher MODEL --output DIR
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("shards", type=parse.path, metavar="SHARDS", help="folder from `data pack`")
    parser.add_argument(
        "--teacher", type=parse.model, required=True, metavar="MODEL", help="name, checkpoint, .onnx file or folder"
    )
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for the labels"
    )
    parser.add_argument(
        "--record", type=parse.existing_file, metavar="FILE", help="JSON record of a teacher without one"
    )
    parser.add_argument("--teacher-version", choices=("v1", "v2"), help="version of a checkpoint that does not have it")
    parser.add_argument(
        "--size",
        type=parse.at_least(14),
        metavar="N",
        help="short side of images in the network (default: from the record, else 518)",
    )
    parser.add_argument(
        "--resolution", choices=("image", "network"), default="image", help="size of labels (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--batch", type=int, metavar="N", help="most images in a batch (default: 16 on a GPU, else 4)")
    parser.add_argument(
        "--chunk", type=int, default=32, metavar="N", help="images decoded and batched together (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads that decode, encode, and label on a CPU (default: the cores)"
    )
    parser.add_argument("--ray", action="store_true", help="use Ray, on this machine or a cluster")
    parser.add_argument("--ray-address", metavar="A", help="address of a running cluster: auto, or ray://host:10001")
    parser.add_argument("--limit-shards", type=int, default=0, metavar="N", help="label N shards (default: all)")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the result to FILE as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Label the remaining shards of this process; the status is 1 if a shard is damaged.

    Of several processes, only the last to end has that status: torchrun would kill the others with the first.
    """
    for name in ("batch", "workers", "chunk"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise CommandError(f"--{name} is {getattr(arguments, name)}, but must be at least 1")
    if arguments.limit_shards < 0:
        raise CommandError("--limit-shards must be at least 0")
    with_ray = arguments.ray or arguments.ray_address is not None
    require("torch", "webdataset", "pydantic", *(["ray"] if with_ray else []))
    check_manifest(arguments.shards)  # before the seconds in which PyTorch is imported
    task = own_task(os.environ)
    if with_ray and task.count > 1:
        raise CommandError(f"--ray divides the work itself: start it once, without {task.launcher}")
    stop = StopRequest(STOPPING if task.local_rank == 0 else "")
    try:
        with stop.listening(), stop.interrupting():
            return _run(arguments, task, with_ray, stop)
    except StoppedError:
        return INTERRUPTED


def _run(arguments: argparse.Namespace, task: Task, with_ray: bool, stop: StopRequest) -> int:
    gpus, local_rank = 0, local_rank_of(task, os.environ)
    if local_rank is not None and arguments.device != "cpu":
        import torch

        gpus = torch.cuda.device_count()  # asks NVML, since CUDA itself would fix the visible GPUs
    choose_gpu(os.environ, local_rank, arguments.device, gpus)
    from depth_anything_ros.pseudo_labels.completion import recorded_problems

    labeling = _labeling(arguments, with_ray)
    progress = _Progress()
    with labeling.claimed(task.rank, task.count) as folder:
        left = labeling.begin(task.rank, task.count)
        earlier = recorded_problems(labeling) if task.count > 1 else {}  # a single process checks all unfinished shards
        total = sum(labeling.shards[shard]["samples"] for shard in left)
        print(
            f"{len(left)} shards to label, {total} images; teacher {labeling.teacher.identity['name']} on "
            f"{labeling.device}, {labeling.teacher.precision(labeling.device)}",
            flush=True,
        )
        label = partial(_label, labeling, left, arguments, task, progress)
        if with_ray:
            label = partial(_label_with_ray, labeling, left, arguments.ray_address, stop, progress)
        problems = _label_all(labeling, total, label, progress, is_quiet=bool(local_rank))
        result, status = _conclude(labeling, problems, earlier, task.count)
        if not result["left"]:
            folder.note({"": str(labeling.images)}, [MANIFEST, "report.json"])
    result |= {name: getattr(progress, name) for name in ("images", "seconds", "core_seconds")}
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return status


def _labeling(arguments: argparse.Namespace, with_ray: bool) -> Labeling:
    """Return the job, after all checks that need no loaded model."""
    from depth_anything_ros.pseudo_labels.folder import Labeling
    from depth_anything_ros.training.settings import TeacherSettings
    from depth_anything_ros.training.teachers.identity import find_teacher

    model = str(Path(arguments.teacher).resolve()) if _is_path(arguments.teacher) else arguments.teacher
    record = arguments.record.resolve() if arguments.record else None
    settings = TeacherSettings(model=model, record=record, version=arguments.teacher_version)
    device = arguments.device
    if not (with_ray and device == "cuda"):  # a cluster's GPUs are elsewhere
        device = _device(device)
    return Labeling(
        images=arguments.shards.resolve(),
        output=arguments.output.resolve(),
        teacher=find_teacher(settings, arguments.size),
        device=device,
        batch=arguments.batch or BATCH[device],
        chunk=arguments.chunk,
        at_image_size=arguments.resolution == "image",
        limit=arguments.limit_shards,
    )


def _is_path(model: str) -> bool:
    from depth_anything_ros.zoo.catalog import known_models

    return model not in known_models() and Path(model).exists()


def _device(device: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise CommandError(
            f"--device cuda: PyTorch {torch.__version__} finds no CUDA GPU; give --device cpu, fix the GPU's driver, "
            "or install a PyTorch built for CUDA"
        )
    if device == "auto" and (unused := unused_by_torch()):
        log.warning(unused)
    return "cuda" if available and device != "cpu" else "cpu"


class _Progress:
    """The number of images processed since the teacher was loaded, and the time.

    ``core_seconds``: of this process's threads, which does not depend on other processes on the same cores.
    """

    def __init__(self) -> None:
        self.images, self.bar = 0, None
        self._began: tuple[float, float] | None = None
        self.seconds = self.core_seconds = 0.0

    def __call__(self, images: int) -> None:
        now = time.monotonic(), time.process_time()
        began = self._began = self._began or now
        self.seconds, self.core_seconds = now[0] - began[0], now[1] - began[1]
        self.images += images
        self.bar.update(images)


def _label_all(
    labeling: Labeling, total: int, label: Callable[[], list[Problem]], progress: _Progress, is_quiet: bool
) -> list[Problem]:
    """Label with a progress bar, one for each machine. Raise `CommandError` if labeling must stop."""
    from depth_anything_ros.pseudo_labels.folder import LabelingError
    from depth_anything_ros.training.run.memory_errors import memory_that_ran_out

    kept = "finished shards are kept; run the same command to continue from there"
    try:
        with progress_bar("labeling", "images", total, quiet=is_quiet) as progress.bar:
            return label()
    except LabelingError as error:
        raise CommandError(f"labeling stopped: {error}; {kept}") from error
    except OSError as error:
        raise CommandError(f"labeling into {labeling.output} stopped: {describe_error(error)}; {kept}") from error
    except (MemoryError, RuntimeError) as error:
        if memory := memory_that_ran_out(error):
            raise CommandError(
                f"{memory} is too small for batches of {labeling.batch} images: give a smaller --batch, or fewer "
                f"--workers; {kept}"
            ) from error
        raise


def _label(
    labeling: Labeling,
    left: list[str],
    arguments: argparse.Namespace,
    task: Task,
    report: Callable[[int], None],
) -> list[Problem]:
    from depth_anything_ros.pseudo_labels import local

    return local.label(labeling, left, arguments.workers or cores_of(task, os.environ), report)


def _label_with_ray(
    labeling: Labeling, left: list[str], address: str | None, stop: StopRequest, report: Callable[[int], None]
) -> list[Problem]:
    from depth_anything_ros.pseudo_labels import ray_stream

    with ray_stream.connected(address), stop.listening():  # after Ray, which sets its own signal handlers
        return ray_stream.label(labeling, left, report, may_grow=address is not None)


def _conclude(
    labeling: Labeling, problems: list[Problem], earlier: Mapping[str, Stamp], processes: int
) -> tuple[dict[str, Any], int]:
    """Write manifest and report if all shards are finished; print and return the result, and the exit status."""
    from depth_anything_ros.pseudo_labels.completion import finish, unfinished
    from depth_anything_ros.pseudo_labels.folder import PROBLEM
    from depth_anything_ros.pseudo_labels.report import REPORT, SHEET, SUSPICIOUS, write_report

    output, left = labeling.output, unfinished(labeling, earlier)
    damaged = [problem.text for problem in problems]
    if not left:
        report = write_report(labeling, finish(labeling))
        damaged = [entry[PROBLEM] for entry in report["damaged"] if entry["shard"] in labeling.shards]
    for text in damaged:
        print(f"{text}; download the shard again, or pack the dataset again, and run the same command again")
    if left:
        print(f"{output}: {len(left)} shards are left to other processes; the last one writes manifest and report")
        return {"output": str(output), "left": left}, int(processes == 1)
    print(
        f"{output}: {report['labels']} labels, {report['refused']['images']} images left out, "
        f"{report['flat']['labels']} labels flat, {len(damaged)} shards damaged"
    )
    print(f"manifest: {output / 'manifest.json'}")
    made = [str(output / name) for name in (REPORT, SHEET, SUSPICIOUS) if (output / name).exists()]
    print("report: " + ", ".join(made))
    return {"output": str(output), "left": [], "report": report}, int(bool(damaged))
