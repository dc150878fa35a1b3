"""The parts that the faults of `soak.py` share: the normal state, expectations, and the way back to normal."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from soak_client import SoakClient
from soak_control import Control
from soak_processes import Child

RECOVERY_SECONDS = 5.0
SETTLING_SECONDS = 0.7
"""Time until the effects of a change are over."""
SCALE = (0.2, 0.02)
"""Depth of 4.5 to 50 meters."""
SOUND = {"rate": 30.0, "width": 640, "height": 480, "image": "", "stamps": "now", "info": "pairs", "focal": 570.0}
"""The camera's normal behavior."""
USUAL = {
    "points.color": True,
    "max_depth": 80.0,
    "max_rate": 0.0,
    "flying_pixels.threshold": 0.05,
    "output.width": 0,
    "output.height": 0,
    "scale.a": SCALE[0],
}
"""The normal values of the parameters that faults change."""


class FaultError(Exception):
    """The node did not behave correctly."""


class Bench(Protocol):
    """The targets of the faults. ``crashed``: time of the last crash of a listener, in seconds of `time.monotonic`."""

    client: SoakClient
    control: Control
    camera: Child
    random: random.Random
    model: Path
    crashed: float

    def start_camera(self) -> None:
        """Start a new camera with normal behavior."""

    def start_listener(self, seconds: float) -> Child:
        """Start a listener that takes ``seconds`` for a cloud."""


def expect(holds: Callable[[], object], what: str, seconds: float = RECOVERY_SECONDS) -> None:
    """Wait until a condition holds.

    Args:
        holds: the condition.
        what: its name in the error.
        seconds: maximum time.

    Raises:
        FaultError: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise FaultError(f"no {what} within {seconds:g} s")
        time.sleep(0.02)


def expect_silence(bench: Bench, seconds: float) -> None:
    """Check that no depth arrives.

    Args:
        bench: Bench of the test.
        seconds: duration of the check.

    Raises:
        FaultError: depth arrives.
    """
    time.sleep(SETTLING_SECONDS)
    before = bench.client.traffic_of_depth()
    time.sleep(seconds)
    if bench.client.traffic_of_depth() != before:
        raise FaultError("depth was published although the node was disabled or inactive")


def require(answer: bool, what: str) -> None:
    """Check an answer of the node.

    Args:
        answer: whether it is correct.
        what: the error if it is not.

    Raises:
        FaultError: it is not correct.
    """
    if not answer:
        raise FaultError(what)


def expect_depth(bench: Bench, since: int | None = None) -> float:
    """Wait for depth and cloud of a new valid image.

    Args:
        bench: Bench of the test.
        since: stamp in nanoseconds after which an image is new; default: now.

    Returns:
        The seconds until they arrived.

    Raises:
        FaultError: they do not arrive in time.
    """
    since, began = time.time_ns() if since is None else since, time.monotonic()
    latest = bench.client.latest
    expect(lambda: min(latest["depth/image_rect"], latest["points"]) > since, "depth and cloud of a new image")
    return time.monotonic() - began


def restore(bench: Bench) -> None:
    """Restore the normal state after an aborted fault."""
    if bench.camera.process.poll() is not None:
        bench.start_camera()
    bench.camera.send(**SOUND)
    bench.client.leave()
    bench.client.listen()
    bench.client.scales = [SCALE]
    bench.control.enable(True)
    bench.control.set_parameters(USUAL | {"model": str(bench.model)})
    for name in ("configure", "activate"):  # rejected if not needed
        bench.control.change(name)
