"""What `soak.py` does to the depth node: each fault is begun, left on for a while, checked, and ended."""

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
"""After which what was under way when something was changed is through."""
LEASE_SECONDS = 30.0
"""After which everybody has noticed that a listener has crashed; Fast DDS takes 20."""
SCALE = (0.2, 0.02)
"""Depth of 4.5 to 50 meters."""
SOUND = {"rate": 30.0, "width": 640, "height": 480, "image": "", "stamps": "now", "info": "pairs", "focal": 570.0}
"""How the camera usually behaves."""
USUAL = {
    "points.stride": 1,
    "points.color": True,
    "max_depth": 80.0,
    "max_rate": 0.0,
    "flying_pixels.threshold": 0.05,
    "output.width": 0,
    "output.height": 0,
    "scale.a": SCALE[0],
}
"""The parameters that faults change, as they usually are."""


class FaultError(Exception):
    """The node did not do what it must."""


class Bench(Protocol):
    """What faults act upon. ``crashed``: when a listener last did, in seconds of `time.monotonic`."""

    client: SoakClient
    control: Control
    camera: Child
    random: random.Random
    model: Path
    crashed: float

    def start_camera(self) -> None:
        """Starts a new camera, with sound behavior."""

    def start_listener(self, seconds: float) -> Child:
        """Starts a listener that takes so long over a cloud."""


def behavior(**what: object) -> Callable[[Bench, float], None]:
    """A camera that behaves so for a while."""

    def fault(bench: Bench, seconds: float) -> None:
        bench.camera.tell(**what)
        time.sleep(seconds)
        bench.camera.tell(**{name: SOUND[name] for name in what})

    return fault


def expect(holds: Callable[[], object], what: str, seconds: float = RECOVERY_SECONDS) -> None:
    """Waits until it holds. Raises `FaultError` if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise FaultError(f"{what} within {seconds:g} s, in vain")
        time.sleep(0.02)


def expect_silence(bench: Bench, seconds: float) -> None:
    """Raises `FaultError` if depth comes while none may."""
    time.sleep(SETTLING_SECONDS)
    before = bench.client.traffic_of_depth()
    time.sleep(seconds)
    if bench.client.traffic_of_depth() != before:
        raise FaultError("depth was published although the node was not to take images")


def require(answer: bool, what: str) -> None:
    """Raises `FaultError` unless the node's answer was the right one."""
    if not answer:
        raise FaultError(what)


def change_size(width: int, height: int) -> Callable[[Bench, float], None]:
    """Images of another size for a while."""

    def fault(bench: Bench, seconds: float) -> None:
        bench.camera.tell(width=width, height=height)
        expect(lambda: bench.client.shape == (height, width), "depth of the images' new size")
        time.sleep(seconds)
        bench.camera.tell(width=640, height=480)
        expect(lambda: bench.client.shape == (480, 640), "depth of the images' old size")

    return fault


def change_intrinsics(bench: Bench, seconds: float) -> None:
    """Another focal length for a while."""
    focal = bench.random.uniform(300, 900)
    bench.camera.tell(focal=focal)
    expect(lambda: abs(bench.client.focal - focal) < 1e-6, "camera_info with the new focal length")
    time.sleep(seconds)
    bench.camera.tell(focal=570.0)


def restart_camera(bench: Bench, seconds: float) -> None:
    """The camera ends in order, and another comes."""
    require(bench.camera.end() is not None, "the camera did not end")
    time.sleep(seconds)
    bench.start_camera()


def kill_camera(bench: Bench, seconds: float) -> None:
    """The camera crashes, and another comes."""
    bench.camera.kill()
    time.sleep(seconds)
    bench.start_camera()


def vanishing_listener(bench: Bench, seconds: float) -> None:
    """A second listener crashes."""
    listener = bench.start_listener(0.0)
    time.sleep(seconds + 1.0)
    listener.kill()
    bench.crashed = time.monotonic()


def slow_listener(bench: Bench, seconds: float) -> None:
    """A second listener needs half a second for every cloud."""
    listener = bench.start_listener(0.5)
    time.sleep(seconds + 1.0)
    listener.end()


def all_leave(bench: Bench, seconds: float) -> None:
    """Nobody listens for a while; then the node must not listen to the camera either."""
    bench.client.leave()
    # Of a listener that crashed the client may not know, while DDS counts it as alive at the node.
    lease = max(0.0, bench.crashed + LEASE_SECONDS - time.monotonic())
    expect(
        lambda: not bench.client.count_subscribers("image"),
        "the end of the node's subscription",
        lease + RECOVERY_SECONDS,
    )
    time.sleep(seconds)
    bench.client.listen()


def disable(bench: Bench, seconds: float) -> None:
    """~/enable false, then true."""
    require(bench.control.enable(False), "~/enable refused to disable")
    expect_silence(bench, seconds)
    require(bench.control.enable(True), "~/enable refused to enable")


def deactivate(bench: Bench, seconds: float) -> None:
    """Lifecycle: deactivate, activate."""
    require(bench.control.change("deactivate"), "deactivate failed")
    expect_silence(bench, seconds)
    require(bench.control.change("activate"), "activate failed")


def clean_up(bench: Bench, seconds: float) -> None:
    """Lifecycle: to unconfigured and back."""
    require(bench.control.change("deactivate", "cleanup"), "cleanup failed")
    expect_silence(bench, seconds)
    require(bench.control.change("configure", "activate"), "configure and activate failed")


def impossible_transition(bench: Bench, seconds: float) -> None:
    """A transition that the state does not have."""
    require(not bench.control.change("configure"), "an active node was configured")
    time.sleep(seconds)


def change_parameters(bench: Bench, seconds: float) -> None:
    """Stride, colors, limits, rates and flying pixels change while frames pass."""
    other = {
        "points.stride": bench.random.choice([2, 3]),
        "points.color": False,
        "max_depth": 100.0,
        "max_rate": 15.0,
        "flying_pixels.threshold": 0.0,
    }
    usual = {name: USUAL[name] for name in other}
    require(all(bench.control.set_parameters(other)), "live parameters were refused")
    expect(lambda: bench.client.stride == other["points.stride"], "a cloud of the new stride")
    time.sleep(seconds)
    require(all(bench.control.set_parameters(usual)), "live parameters were refused")
    expect(lambda: bench.client.stride == 1, "a cloud of every pixel")


def change_output_size(bench: Bench, seconds: float) -> None:
    """Outputs of another size than the image."""
    require(all(bench.control.set_parameters({"output.width": 320, "output.height": 240})), "output size was refused")
    expect(lambda: bench.client.shape == (240, 320), "depth of the new size")
    time.sleep(seconds)
    require(all(bench.control.set_parameters({"output.width": 0, "output.height": 0})), "output size was refused")
    expect(lambda: bench.client.shape == (480, 640), "depth of the image's size")


def change_scale(bench: Bench, seconds: float) -> None:
    """Another scale, then ~/reset_scale."""
    other = (bench.random.uniform(0.1, 0.4), SCALE[1])
    bench.client.scales = [SCALE, other]
    require(all(bench.control.set_parameters({"scale.a": other[0]})), "scale.a was refused")
    time.sleep(SETTLING_SECONDS)
    bench.client.scales = [other]
    time.sleep(seconds)
    bench.client.scales = [SCALE, other]
    require(bench.control.reset_scale(), "~/reset_scale failed")
    time.sleep(SETTLING_SECONDS)
    bench.client.scales = [SCALE]


def wrong_parameters(bench: Bench, seconds: float) -> None:
    """Values that may not be; all must be refused."""
    wrong = {"points.stride": 0, "min_depth": 90.0, "max_depth": "far", "scale.a": -1.0, "backend": "abacus"}
    wrong["cameras"] = ["left"]
    taken = bench.control.set_parameters(wrong)
    names = [name for name, is_taken in zip(wrong, taken, strict=True) if is_taken]
    require(not names, f"wrong values were taken: {', '.join(names)}")
    time.sleep(seconds)


def reload_model(bench: Bench, seconds: float) -> None:
    """~/reload_model in the middle of the traffic."""
    require(bench.control.reload_model(), "~/reload_model failed")
    time.sleep(seconds)


def reload_absent_model(bench: Bench, seconds: float) -> None:
    """~/reload_model of what is not there; the model in use must stay."""
    require(all(bench.control.set_parameters({"model": str(bench.model.with_name("absent.onnx"))})), "model refused")
    require(not bench.control.reload_model(), "an absent model was loaded")
    expect_depth(bench)
    time.sleep(seconds)
    require(all(bench.control.set_parameters({"model": str(bench.model)})), "model refused")


def restore(bench: Bench) -> None:
    """Puts everything back as it usually is, after a fault that was broken off."""
    if bench.camera.process.poll() is not None:
        bench.start_camera()
    bench.camera.tell(**SOUND)
    bench.client.leave()
    bench.client.listen()
    bench.client.scales = [SCALE]
    bench.control.enable(True)
    bench.control.set_parameters(USUAL | {"model": str(bench.model)})
    for name in ("configure", "activate"):  # each is refused where it is not called for
        bench.control.change(name)


def expect_depth(bench: Bench, since: int | None = None) -> float:
    """Waits for depth and cloud of a sound image sent from now on; returns after how many seconds they came."""
    since, began = time.time_ns() if since is None else since, time.monotonic()
    latest = bench.client.latest
    expect(lambda: min(latest["depth/image_rect"], latest["points"]) > since, "depth and cloud of a new image")
    return time.monotonic() - began


FAULTS: dict[str, Callable[[Bench, float], None]] = {
    "larger images": change_size(800, 600),
    "smaller images": change_size(320, 240),
    "unknown encoding": behavior(image="encoding"),
    "step too small": behavior(image="step"),
    "height of zero": behavior(image="size"),
    "truncated data": behavior(image="data"),
    "duplicate stamps": behavior(stamps="duplicate"),
    "stamps out of order": behavior(stamps="disorder"),
    "time ten seconds back": behavior(stamps="backward"),
    "stamps of zero": behavior(stamps="zero"),
    "no camera_info": behavior(info="missing"),
    "camera_info of another size": behavior(info="other size"),
    "other intrinsics": change_intrinsics,
    "200 images a second": behavior(rate=200.0),
    "no images": behavior(rate=0.0),
    "camera restarted": restart_camera,
    "camera killed": kill_camera,
    "listener killed": vanishing_listener,
    "slow listener": slow_listener,
    "all listeners leave": all_leave,
    "disabled": disable,
    "deactivated": deactivate,
    "cleaned up": clean_up,
    "impossible transition": impossible_transition,
    "live parameters": change_parameters,
    "output size": change_output_size,
    "scale": change_scale,
    "wrong parameters": wrong_parameters,
    "model reloaded": reload_model,
    "absent model": reload_absent_model,
}
"""By the name in the report."""
