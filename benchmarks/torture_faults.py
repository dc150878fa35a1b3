"""The faults of `torture.py`. Each is transient, or is lifted at the end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torture_steps import LIMIT_SECONDS, PHOTOGRAPHS, Step, environment

DISK_MEBIBYTES = 512
OUTPUT_KEPT = 1500


@dataclass
class Scene:
    """A round's folder, on its own disk, and the duration of the undisturbed step."""

    step: Step
    folder: Path
    seconds: float
    draw: random.Random

    def start(self, **changes: str) -> subprocess.Popen[bytes]:
        """Start the step's command in its own process group. ``changes`` are variables of its environment."""
        output = (self.folder.parent / "output.txt").open("ab")
        return subprocess.Popen(
            self.step.command,
            cwd=self.folder,
            env=environment() | changes,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def printed(self) -> str:
        """Return the end of the output of the round's commands."""
        path = self.folder.parent / "output.txt"
        return path.read_text(errors="replace")[-OUTPUT_KEPT:] if path.exists() else ""

    def remount(self, options: str) -> bool:
        """Change the mount options. Return False if the kernel rejects it, as for read-only while a file is open."""
        disk = str(self.folder)
        return (
            subprocess.run(["mount", "-o", f"remount,{options}", disk], capture_output=True, check=False).returncode
            == 0
        )


def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, and return its exit status. One that exceeds the limit is killed, and counts as -9."""
    try:
        return process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.wait()


def kill(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    """Send a signal to a process and its children.

    Args:
        process: the leader of its process group.
        number: Number of the signal.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Mount a disk in memory at a folder."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEBIBYTES}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def killed(scene: Scene) -> list[int]:
    """Send SIGKILL at a random moment, up to three times."""
    statuses = []
    for _ in range(scene.draw.randint(1, 3)):
        process = scene.start()
        time.sleep(scene.draw.uniform(0.2, 1.0) * scene.seconds)
        kill(process)
        statuses.append(wait(process))
    return statuses


def terminated(scene: Scene) -> list[int]:
    """Send SIGTERM at a random moment to the whole group, as a cluster does."""
    process = scene.start()
    time.sleep(scene.draw.uniform(0.2, 1.0) * scene.seconds)
    kill(process, signal.SIGTERM)
    return [wait(process)]


def disk_full(scene: Scene) -> list[int]:
    """Limit the disk to a random share of the step's output."""
    used = shutil.disk_usage(scene.folder).used
    scene.remount(f"size={used + scene.draw.randint(0, 400_000)}")
    status = wait(scene.start())
    scene.remount(f"size={DISK_MEBIBYTES}m")
    return [status]


def read_only(scene: Scene) -> list[int]:
    """Make the disk read-only for a moment, as after disk errors."""
    process = scene.start()
    time.sleep(scene.draw.uniform(0.1, 0.9) * scene.seconds)
    until = time.monotonic() + scene.draw.uniform(0.3, 1.5)
    while time.monotonic() < until and not scene.remount("ro"):
        time.sleep(0.01)
    time.sleep(max(0.0, until - time.monotonic()))
    scene.remount("rw")
    return [wait(process)]


def input_errors(scene: Scene) -> list[int]:
    """Make reads fail at random; a retry succeeds."""
    return [wait(scene.start(TORTURE_IO=f"{scene.draw.randrange(1 << 30)} {scene.draw.choice([0.02, 0.1, 0.3])}"))]


def second_process(scene: Scene) -> list[int]:
    """Start the same command again at a random moment of the first."""
    first = scene.start()
    time.sleep(scene.draw.uniform(0.0, 0.9) * scene.seconds)
    second = scene.start()
    return [wait(first), wait(second)]


def killed_beside_another(scene: Scene) -> list[int]:
    """Start two at once, and kill one."""
    processes = [scene.start(), scene.start()]
    time.sleep(scene.draw.uniform(0.2, 0.9) * scene.seconds)
    kill(scene.draw.choice(processes))
    return [wait(process) for process in processes]


def input_half_there(scene: Scene) -> list[int]:
    """Remove some photographs for one run, as on a disk that is only partly mounted, and restore them."""
    if PHOTOGRAPHS not in scene.step.reads:
        return second_process(scene)
    wait(scene.start())
    photographs, away = scene.folder / PHOTOGRAPHS, scene.folder / "away"
    away.mkdir()
    for path in sorted(photographs.iterdir())[3:]:
        path.rename(away / path.name)
    status = wait(scene.start())
    for path in away.iterdir():
        path.rename(photographs / path.name)
    away.rmdir()
    return [status]


FAULTS: dict[str, Callable[[Scene], list[int]]] = {
    function.__name__: function
    for function in (
        killed,
        terminated,
        disk_full,
        read_only,
        input_errors,
        second_process,
        killed_beside_another,
        input_half_there,
    )
}
