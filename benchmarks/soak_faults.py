"""The faults of `soak.py`: each starts, lasts for some seconds, is checked, and ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from soak_bench import (
    RECOVERY_SECONDS,
    SCALE,
    SETTLING_SECONDS,
    SOUND,
    USUAL,
    Bench,
    expect,
    expect_depth,
    expect_silence,
    require,
)

LEASE_SECONDS = 30.0
"""Time until every process has detected a listener's crash; Fast DDS takes 20."""


def behavior(**what: object) -> Callable[[Bench, float], None]:
    """Return a fault that changes the camera's behavior for a while."""

    def fault(bench: Bench, seconds: float) -> None:
        bench.camera.send(**what)
        time.sleep(seconds)
        bench.camera.send(**{name: SOUND[name] for name in what})

    return fault


def change_size(width: int, height: int) -> Callable[[Bench, float], None]:
    """Return a fault that changes the size of images for a while.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def fault(bench: Bench, seconds: float) -> None:
        bench.camera.send(width=width, height=height)
        expect(lambda: bench.client.shape == (height, width), "depth of the images' new size")
        time.sleep(seconds)
        bench.camera.send(width=640, height=480)
        expect(lambda: bench.client.shape == (480, 640), "depth of the images' old size")

    return fault


def change_intrinsics(bench: Bench, seconds: float) -> None:
    """Change the focal length for a while."""
    focal = bench.random.uniform(300, 900)
    bench.camera.send(focal=focal)
    expect(lambda: abs(bench.client.focal - focal) < 1e-6, "camera_info with the new focal length")
    time.sleep(seconds)
    bench.camera.send(focal=570.0)


def restart_camera(bench: Bench, seconds: float) -> None:
    """End the camera, and start another."""
    require(bench.camera.end() is not None, "the camera did not end")
    time.sleep(seconds)
    bench.start_camera()


def kill_camera(bench: Bench, seconds: float) -> None:
    """Kill the camera, and start another."""
    bench.camera.kill()
    time.sleep(seconds)
    bench.start_camera()


def vanishing_listener(bench: Bench, seconds: float) -> None:
    """Kill a second listener."""
    listener = bench.start_listener(0.0)
    time.sleep(seconds + 1.0)
    listener.kill()
    bench.crashed = time.monotonic()


def slow_listener(bench: Bench, seconds: float) -> None:
    """Add a listener that needs half a second for every cloud."""
    listener = bench.start_listener(0.5)
    time.sleep(seconds + 1.0)
    listener.end()


def all_leave(bench: Bench, seconds: float) -> None:
    """Remove all listeners for a while; the node must then unsubscribe from the camera."""
    bench.client.leave()
    # DDS may count a crashed listener as alive at the node, while the client does not know of it.
    lease = max(0.0, bench.crashed + LEASE_SECONDS - time.monotonic())
    expect(
        lambda: not bench.client.count_subscribers("image"),
        "the end of the node's subscription",
        lease + RECOVERY_SECONDS,
    )
    time.sleep(seconds)
    bench.client.listen()


def disable(bench: Bench, seconds: float) -> None:
    """Set ~/enable to false, then to true."""
    require(bench.control.enable(False), "~/enable failed to disable")
    expect_silence(bench, seconds)
    require(bench.control.enable(True), "~/enable failed to enable")


def deactivate(bench: Bench, seconds: float) -> None:
    """Deactivate the node, and activate it."""
    require(bench.control.change("deactivate"), "deactivate failed")
    expect_silence(bench, seconds)
    require(bench.control.change("activate"), "activate failed")


def clean_up(bench: Bench, seconds: float) -> None:
    """Clean the node up, and configure it again."""
    require(bench.control.change("deactivate", "cleanup"), "cleanup failed")
    expect_silence(bench, seconds)
    require(bench.control.change("configure", "activate"), "configure and activate failed")


def impossible_transition(bench: Bench, seconds: float) -> None:
    """Request a transition that is invalid in the present state."""
    require(not bench.control.change("configure"), "an active node was configured")
    time.sleep(seconds)


def change_parameters(bench: Bench, seconds: float) -> None:
    """Change stride, colors, limits, rates and flying pixels while frames are processed."""
    other = {
        "points.stride": bench.random.choice([2, 3]),
        "points.color": False,
        "max_depth": 100.0,
        "max_rate": 15.0,
        "flying_pixels.threshold": 0.0,
    }
    usual = {name: USUAL[name] for name in other}
    require(all(bench.control.set_parameters(other)), "live parameters were rejected")
    expect(lambda: bench.client.stride == other["points.stride"], "a cloud of the new stride")
    time.sleep(seconds)
    require(all(bench.control.set_parameters(usual)), "live parameters were rejected")
    expect(lambda: bench.client.stride == 1, "a cloud of every pixel")


def change_output_size(bench: Bench, seconds: float) -> None:
    """Change the size of the outputs."""
    require(all(bench.control.set_parameters({"output.width": 320, "output.height": 240})), "output size was rejected")
    expect(lambda: bench.client.shape == (240, 320), "depth of the new size")
    time.sleep(seconds)
    require(all(bench.control.set_parameters({"output.width": 0, "output.height": 0})), "output size was rejected")
    expect(lambda: bench.client.shape == (480, 640), "depth of the image's size")


def change_scale(bench: Bench, seconds: float) -> None:
    """Change the scale, then call ~/reset_scale."""
    other = (bench.random.uniform(0.1, 0.4), SCALE[1])
    bench.client.scales = [SCALE, other]
    require(all(bench.control.set_parameters({"scale.a": other[0]})), "scale.a was rejected")
    time.sleep(SETTLING_SECONDS)
    bench.client.scales = [other]
    time.sleep(seconds)
    bench.client.scales = [SCALE, other]
    require(bench.control.reset_scale(), "~/reset_scale failed")
    time.sleep(SETTLING_SECONDS)
    bench.client.scales = [SCALE]


def wrong_parameters(bench: Bench, seconds: float) -> None:
    """Set invalid values; all must be rejected."""
    wrong = {"points.stride": 0, "min_depth": 90.0, "max_depth": "far", "scale.a": -1.0, "backend": "abacus"}
    wrong["cameras"] = ["left"]
    taken = bench.control.set_parameters(wrong)
    names = [name for name, is_taken in zip(wrong, taken, strict=True) if is_taken]
    require(not names, f"invalid values were accepted: {', '.join(names)}")
    time.sleep(seconds)


def reload_model(bench: Bench, seconds: float) -> None:
    """Call ~/reload_model while frames are processed."""
    require(bench.control.reload_model(), "~/reload_model failed")
    time.sleep(seconds)


def reload_absent_model(bench: Bench, seconds: float) -> None:
    """Call ~/reload_model with a missing model; the model in use must stay."""
    require(all(bench.control.set_parameters({"model": str(bench.model.with_name("absent.onnx"))})), "model rejected")
    require(not bench.control.reload_model(), "a missing model was loaded")
    expect_depth(bench)
    time.sleep(seconds)
    require(all(bench.control.set_parameters({"model": str(bench.model)})), "model rejected")


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
"""By name in the report."""
