"""A run that is stopped or cannot continue reports it at once and loses nothing."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from scene_shards import pack_scenes  # noqa: E402
from stage_runs import equal, last_state  # noqa: E402

from depth_anything_ros.data import retry  # noqa: E402
from depth_anything_ros.training.configuration import StageConfiguration  # noqa: E402
from depth_anything_ros.training.distributed.devices import open_fabric  # noqa: E402
from depth_anything_ros.training.distributed.placement import Placement  # noqa: E402
from depth_anything_ros.training.distributed.ranks import FailedError  # noqa: E402
from depth_anything_ros.training.input.batch_reader import BatchReader  # noqa: E402
from depth_anything_ros.training.input.batches import open_batches  # noqa: E402
from depth_anything_ros.training.input.samples import open_data  # noqa: E402
from depth_anything_ros.training.input.shared_memory import SharedMemoryError  # noqa: E402
from depth_anything_ros.training.loop import Training  # noqa: E402
from depth_anything_ros.training.run.folder import StageFolder  # noqa: E402
from depth_anything_ros.training.run.log import RunLog  # noqa: E402
from depth_anything_ros.training.run.memory_errors import MemoryRanOutError, memory_that_ran_out  # noqa: E402
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "renderer")


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    return pack_scenes(tmp_path_factory.mktemp("shards") / "scenes", 6, 0, (28, 42))


def open_training(root: Path, shards: Path, steps: int = 100, **changes) -> Training:
    """A run that neither logs nor saves before its last step."""
    values = {
        "stage": "teacher",
        "name": "teacher",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "data": {"labeled": [{"shards": str(shards)}], "labeled_batch_size": 2, "sizes": [[28, 28]], "workers": 0},
        "optimizer": {"steps": steps, "warmup_steps": 1},
        "run": {"precision": "32-true", "log_every": 1000, "save_every": 1000, "validate_every": 1000},
    }
    for name, value in changes.items():
        section, _, setting = name.partition("__")
        values[section] = {**values[section], setting: value}
    configuration = StageConfiguration.from_dictionary(values)
    root.mkdir(exist_ok=True)
    fabric = open_fabric(configuration.run, "cpu", Placement())
    return Training(configuration, open_data(configuration), StageFolder(root), fabric)


def at_step(training: Training, step: int, act: Callable[[], object]) -> None:
    """Run an action in the middle of a step, counted from 0."""

    def hook(*_) -> None:
        if training.step == step:
            act()

    training.objective.register_forward_pre_hook(hook)


def ask_to_stop(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def stop(request):
    with (request_ := StopRequest("asked to stop: hold on")).listening():
        yield request_


@pytest.mark.parametrize(("asked_at", "steps"), [(2, 100), (2, 3)], ids=["midst", "last step"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_stops_after_present_step(tmp_path, shards, stop, capfd, asked_at, steps, number):
    """However rarely it logs, and at the last step too; what is said is said before the step ends."""
    training, said = open_training(tmp_path / "run", shards, steps), []
    at_step(training, asked_at, lambda: (ask_to_stop(number), said.append(capfd.readouterr().err)))
    with pytest.raises(StoppedError, match="stopped at step 3; run the same command to continue from there"):
        training.run(stop)
    assert "asked to stop: hold on" in "".join(said)
    assert last_state(tmp_path / "run")["step"] == 3


def test_run_stopped_during_validation_validates_on_resume(tmp_path, shards, stop):
    """So that it keeps the weights that it would have kept."""
    others = pack_scenes(tmp_path / "others", 6, 100, (28, 42))
    validation = {"data__validation": [{"shards": str(others)}], "data__validation_images": 6, "run__validate_every": 2}
    whole = open_training(tmp_path / "whole", shards, 4, **validation)
    whole.run()
    training, images = open_training(tmp_path / "run", shards, 4, **validation), []

    def ask(*_) -> None:
        if not training.network.training or (training.step == 2 and not torch.is_grad_enabled()):
            images.append(1)
            if len(images) == 2:
                ask_to_stop()

    training.objective.register_forward_pre_hook(ask)
    with pytest.raises(StoppedError, match="stopped at step 2"):
        training.run(stop)
    assert len(images) == 2
    assert not (tmp_path / "run/best.pt").exists()
    again = open_training(tmp_path / "run", shards, 4, **validation)
    again.run()
    assert equal(last_state(tmp_path / "whole"), last_state(tmp_path / "run"))
    assert equal(whole.best(), again.best())


def test_run_waiting_for_images_stops_at_once(tmp_path, shards, stop):
    training = open_training(tmp_path / "run", shards)
    read = training.samples.mixtures["labeled"].read

    def wait(position: int, least_side: int = 0):
        if position == 4:  # the first of the third step
            ask_to_stop()
            threading.Event().wait(600)  # as a disk that does not answer
        return read(position, least_side)

    training.samples.mixtures["labeled"].read = wait
    with pytest.raises(StoppedError, match="stopped at step 2"):
        training.run(stop)
    assert last_state(tmp_path / "run")["step"] == 2


def test_second_sigint_ends_at_once_unless_passed_by_launcher(monkeypatch):
    stop = StopRequest()
    with stop.listening():
        ask_to_stop(signal.SIGINT)
        ask_to_stop(signal.SIGINT)  # of torchrun, which got it from the terminal as this process did
        ask_to_stop(signal.SIGTERM)
        assert stop.is_made
        monkeypatch.setattr("depth_anything_ros.training.run.stop_request.REPEATED", -1.0)
        ask_to_stop(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            ask_to_stop(signal.SIGINT)


def test_stop_request_interrupts_only_in_allowed_sections():
    stop = StopRequest()
    with stop.listening():
        with pytest.raises(StoppedError), stop.interrupting():
            ask_to_stop()
        ask_to_stop()
        with pytest.raises(StoppedError), stop.interrupting():
            raise AssertionError("it was begun")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "was killed, most likely because memory ran out: lower data.workers, which is 2"),
        (signal.SIGBUS, r"ended by SIGBUS, .*shared memory ran out: lower data.workers, .*; data.workers is 2"),
    ],
)
def test_killed_worker_ends_run_with_saved_state(tmp_path, shards, number, words):
    """It dies in the midst of a step, which ends as if nothing had been."""
    training = open_training(tmp_path / "run", shards, data__workers=2)
    others = multiprocessing.active_children()

    def kill() -> None:
        for child in multiprocessing.active_children():
            if child not in others:
                os.kill(child.pid, number)
                child.join(60)

    at_step(training, 2, kill)
    with pytest.raises(FailedError, match=f"{words}.*; the state of step 3 is saved, run the same command to continue"):
        training.run()
    assert last_state(tmp_path / "run")["step"] == 3
    assert multiprocessing.active_children() == others


def test_full_shared_memory_ends_run_with_advice(tmp_path, shards):
    """A limit on the size of files is one of a file of shared memory too."""
    import resource

    training = open_training(tmp_path / "run", shards, data__workers=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        reader = BatchReader(open_batches(training.configuration, training.samples, 0), torch.device("cpu"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with (
        closing(reader),
        pytest.raises(SharedMemoryError, match=r"too small for .*: lower data\.workers, or give the cont"),
    ):
        next(reader)


def test_out_of_memory_is_explained_and_state_saved(tmp_path, shards):
    training = open_training(tmp_path / "run", shards)
    at_step(training, 2, lambda: torch.empty(10**15))
    with pytest.raises(MemoryRanOutError, match="this machine's memory is too small for a step: set optimizer"):
        training.run()
    assert last_state(tmp_path / "run")["step"] == 2


def test_memory_errors_are_distinguished_from_others():
    assert (
        memory_that_ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")) == "the GPU's memory"
    )
    assert memory_that_ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) == "the GPU's memory"
    assert memory_that_ran_out(MemoryError()) == "this machine's memory"
    assert memory_that_ran_out(RuntimeError("shapes differ")) is None
    assert memory_that_ran_out(OSError(errno.EIO, "not enough memory")) is None


def test_unexpected_error_saves_state(tmp_path, shards, caplog):
    training = open_training(tmp_path / "run", shards)
    at_step(training, 2, lambda: {}["absent"])
    with pytest.raises(KeyError):
        training.run()
    assert last_state(tmp_path / "run")["step"] == 2
    assert "training ends at step 2 because of an error: the state of step 2 is saved" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_permanent_disk_failure_ends_run_with_saved_state(tmp_path, monkeypatch, workers):
    """The error is one line, whoever met it."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("Linux alone has a file that fails")
    monkeypatch.setattr(retry, "WAITS", (0.001,) * 3)
    shards = pack_scenes(tmp_path / "scenes", 6, 0, (28, 42))
    training = open_training(tmp_path / "run", shards, data__workers=workers)

    def fail() -> None:
        (shard,) = shards.glob("*.tar")
        if not shard.is_symlink():
            shard.unlink()
            shard.symlink_to("/proc/self/mem")

    at_step(training, 2, fail)
    with pytest.raises(
        FailedError, match=r"shard-000000\.tar: Input/output error; the state of step \d+ is saved"
    ) as raised:
        training.run()
    assert "\n" not in str(raised.value)
    assert last_state(tmp_path / "run")["step"] == training.step >= 3


def test_full_disk_for_log_does_not_end_run(tmp_path, shards, caplog):
    """What could not be written is, as soon as it can be."""
    if not Path("/dev/full").exists():
        pytest.skip("Linux alone has a disk that is always full")
    training = open_training(tmp_path / "run", shards, 4, run__log_every=1)
    log = tmp_path / "run/log.jsonl"
    log.symlink_to("/dev/full")
    at_step(training, 2, lambda: log.unlink())
    training.run()
    assert last_state(tmp_path / "run")["step"] == 4
    assert [line.partition('"step": ')[2][0] for line in log.read_text().splitlines()] == ["1", "2", "3", "4"]
    warnings = [record.getMessage() for record in caplog.records if "log.jsonl" in record.getMessage()]
    assert len(warnings) == 1
    assert "log.jsonl: No space left on device; training continues, and writes the log when it can" in warnings[0]


def test_partial_log_line_is_removed(tmp_path, caplog):
    """As a disk leaves it that becomes full in the midst of one."""
    import resource

    log = RunLog(StageFolder(tmp_path), 0)
    log.add_values(1, {"a": 0.5}, "loss")
    before = (tmp_path / "log.jsonl").read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 9, limits[1]))
    try:
        log.add_values(2, {"a": 0.5}, "loss")
        assert (tmp_path / "log.jsonl").read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    log.close()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
