"""`depth_anything_ros label`: a teacher's pseudo-labels for packed images, by one process, many, or a cluster."""

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
from depth_anything_ros.commands.own_share import choose_gpu, own_place, own_task
from depth_anything_ros.data.manifest import MANIFEST
from depth_anything_ros.runtime.cuda.gpu_advice import unused_by_torch
from depth_anything_ros.system.atomic_file import atomic_write, describe_error
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.process_rank import Task, cores_of
from depth_anything_ros.system.progress import progress_bar
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest

if TYPE_CHECKING:
    from depth_anything_ros.pseudo_labels.chunks import Trouble
    from depth_anything_ros.pseudo_labels.folder import Labeling, Stamp

log = logging.getLogger(__name__)

BATCH = {"cuda": 16, "cpu": 4}
"""Images at once, by device."""

INTERRUPTED = 130
"""Exit status of labeling that was asked to stop, by Ctrl-C or SIGTERM."""
STOPPING = (
    "asked to stop: ending after the images that are in the network; shards that are finished are kept, the same "
    "command goes on from there"
)

_EPILOG = """\
Each shard of images gets a shard of labels of the same name: KEY.depth.png, 16 bits of inverse depth over the image's
own range, and KEY.json. Interrupted, the same command goes on. Several processes share the shards if each is told its
number, as torchrun, srun and mpirun do, or you by RANK and WORLD_SIZE:

  torchrun --nproc-per-node 8 -m depth_anything_ros label SHARDS --teacher MODEL --output DIR
  srun --ntasks 8 depth_anything_ros label SHARDS --teacher MODEL --output DIR
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("shards", type=parse.path, metavar="SHARDS", help="folder that `data pack` made")
    parser.add_argument(
        "--teacher", type=parse.model, required=True, metavar="MODEL", help="name, checkpoint, .onnx file or folder"
    )
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for the labels"
    )
    parser.add_argument(
        "--record", type=parse.existing_file, metavar="FILE", help="JSON record of a teacher that carries none"
    )
    parser.add_argument("--teacher-version", choices=("v1", "v2"), help="of a checkpoint that does not say")
    parser.add_argument(
        "--size",
        type=parse.at_least(14),
        metavar="N",
        help="short side of images in the network (default: the record's, else 518)",
    )
    parser.add_argument(
        "--resolution", choices=("image", "network"), default="image", help="size of labels (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--batch", type=int, metavar="N", help="most images at once (default: 16 on a GPU, else 4)")
    parser.add_argument(
        "--chunk", type=int, default=32, metavar="N", help="images decoded and batched together (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads that decode, encode, and label on a CPU (default: the cores)"
    )
    parser.add_argument("--ray", action="store_true", help="use Ray, on this machine or a cluster")
    parser.add_argument("--ray-address", metavar="A", help="a running cluster's, such as auto or ray://host:10001")
    parser.add_argument("--limit-shards", type=int, default=0, metavar="N", help="the first N shards (default: all)")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the result here as JSON too")


def run(arguments: argparse.Namespace) -> int:
    """Labels what is left of this process's shards; the status is 1 where a shard is damaged.

    Of several processes, the one that ends last has that status: torchrun would kill the others with the first.
    """
    for name in ("batch", "workers", "chunk"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise CommandError(f"--{name} is {getattr(arguments, name)}, must be at least 1")
    if arguments.limit_shards < 0:
        raise CommandError("--limit-shards must be at least 0")
    with_ray = arguments.ray or arguments.ray_address is not None
    require("torch", "webdataset", "pydantic", *(["ray"] if with_ray else []))
    task = own_task(os.environ)
    if with_ray and task.count > 1:
        raise CommandError(f"--ray shares the work itself: start it once, without {task.launcher}")
    stop = StopRequest(STOPPING if task.local_rank == 0 else "")
    try:
        with stop.listening(), stop.interrupting():
            return _run(arguments, task, with_ray, stop)
    except StoppedError:
        return INTERRUPTED


def _run(arguments: argparse.Namespace, task: Task, with_ray: bool, stop: StopRequest) -> int:
    gpus, local = 0, own_place(task, os.environ)
    if local is not None and arguments.device != "cpu":
        import torch

        gpus = torch.cuda.device_count()  # asks NVML: CUDA itself would settle which GPUs there are
    choose_gpu(os.environ, local, arguments.device, gpus)
    labeling = _labeling(arguments, with_ray)
    progress = _Progress()
    with labeling.claimed(task.rank, task.count) as folder:
        left = labeling.begin(task.rank, task.count)
        earlier = labeling.noted_troubles() if task.count > 1 else {}  # one process looks at all that is not done
        total = sum(labeling.shards[shard]["samples"] for shard in left)
        print(
            f"{len(left)} shards to label, {total} images; teacher {labeling.teacher.identity['name']} on "
            f"{labeling.device}, {labeling.teacher.precision(labeling.device)}",
            flush=True,
        )
        label = partial(_label, labeling, left, arguments, task, progress)
        if with_ray:
            label = partial(_label_with_ray, labeling, left, arguments.ray_address, stop, progress)
        troubles = _label_all(labeling, total, label, progress, is_quiet=bool(local))
        result, status = _conclude(labeling, troubles, earlier, task.count)
        if not result["left"]:
            folder.note({"": str(labeling.images)}, [MANIFEST, "report.json"])
    result |= {name: getattr(progress, name) for name in ("images", "seconds", "core_seconds")}
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return status


def _labeling(arguments: argparse.Namespace, with_ray: bool) -> Labeling:
    """What is to be done; everything that is amiss with it is said before a model is loaded."""
    from depth_anything_ros.pseudo_labels.folder import Labeling
    from depth_anything_ros.training.configuration import TeacherSettings
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
            f"--device cuda: PyTorch {torch.__version__} finds no CUDA GPU; give --device cpu, or mend the GPU's "
            "driver, or install a PyTorch that was built for CUDA"
        )
    if device == "auto" and (unused := unused_by_torch()):
        log.warning(unused)
    return "cuda" if available and device != "cpu" else "cpu"


class _Progress:
    """How many images have been seen to since the teacher was loaded, and in how long.

    ``core_seconds``: of this process's threads, which other processes that take the cores away do not change.
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
    labeling: Labeling, total: int, label: Callable[[], list[Trouble]], progress: _Progress, is_quiet: bool
) -> list[Trouble]:
    """Labels with a progress bar, one for each machine. Raises `CommandError` where it has to stop."""
    from depth_anything_ros.pseudo_labels.folder import LabelingError
    from depth_anything_ros.training.run.memory_errors import memory_that_ran_out

    kept = "shards that are finished are kept, the same command goes on from there"
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
                f"{memory} does not hold {labeling.batch} images at once: give a smaller --batch, or fewer --workers; "
                f"{kept}"
            ) from error
        raise


def _label(
    labeling: Labeling,
    left: list[str],
    arguments: argparse.Namespace,
    task: Task,
    report: Callable[[int], None],
) -> list[Trouble]:
    from depth_anything_ros.pseudo_labels import local

    return local.label(labeling, left, arguments.workers or cores_of(task, os.environ), report)


def _label_with_ray(
    labeling: Labeling, left: list[str], address: str | None, stop: StopRequest, report: Callable[[int], None]
) -> list[Trouble]:
    from depth_anything_ros.pseudo_labels import ray_stream

    with ray_stream.connected(address), stop.listening():  # Ray has answers of its own to signals
        return ray_stream.label(labeling, left, report, may_grow=address is not None)


def _conclude(
    labeling: Labeling, troubles: list[Trouble], earlier: Mapping[str, Stamp], processes: int
) -> tuple[dict[str, Any], int]:
    """Writes manifest and report if all shards are there; says what has become of them."""
    from depth_anything_ros.pseudo_labels.report import REPORT, SHEET, SUSPICIOUS, write_report

    output, left = labeling.output, labeling.unsettled(earlier)
    damaged = [trouble.text for trouble in troubles]
    if not left:
        report = write_report(labeling, labeling.finish())
        damaged = [entry["trouble"] for entry in report["damaged"] if entry["shard"] in labeling.shards]
    for text in damaged:
        print(f"{text}; fetch it anew, or pack the set anew, and run the same command again")
    if left:
        print(f"{output}: {len(left)} shards are left to others; who ends last writes manifest and report")
        return {"output": str(output), "left": left}, int(processes == 1)
    print(
        f"{output}: {report['labels']} labels, {report['refused']['images']} images left out, "
        f"{report['flat']['labels']} labels flat, {len(damaged)} shards damaged"
    )
    print(f"manifest: {output / 'manifest.json'}")
    made = [str(output / name) for name in (REPORT, SHEET, SUSPICIOUS) if (output / name).exists()]
    print("report: " + ", ".join(made))
    return {"output": str(output), "left": [], "report": report}, int(bool(damaged))
