"""Check the cameras: devices with their formats and sizes and, on request, the measured rates of their images."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from depth_anything_ros.capture.v4l2_modes import CameraMode, VideoDevice, read_device
from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section

DEVICES = Path("/dev")
SECONDS = 3.0
"""Seconds over which a rate is measured, after the first image."""
SECONDS_TO_ANSWER = 12.0
"""Maximum seconds for one camera, including its start."""
LEAST_SHARE = 0.8
"""Share of the driver's own rate below which a camera is slow."""


def devices(section: Section, options: Options) -> None:
    """Report every /dev/videoN, with the driver's formats and sizes."""
    found: list[dict[str, Any]] = []
    section.facts["devices"] = found
    for path in _paths():
        entry: dict[str, Any] = {"path": str(path), "name": None, "driver": None, "gives_images": False, "modes": []}
        found.append(entry)
        try:
            device = read_device(path)
        except PermissionError:
            section.problem(
                f"no permission to use {path}: sudo usermod -aG video $USER, then log in again (docker run: "
                f"--device {path} --group-add video)"
            )
            continue
        except OSError as error:
            busy = error.errno == errno.EBUSY
            fix = f"end the program that uses it: fuser -v {path}" if busy else "unplug the camera and plug it in again"
            section.note(f"{path} does not answer ({error.strerror or error}): {fix}")
            continue
        modes = [{"format": mode.pixel_format, **_numbers(mode)} for mode in device.modes]
        entry.update(name=device.name, driver=device.driver, gives_images=device.gives_images, modes=modes)
        _say_device(section, path, device)
    if not found:
        section.add_line(
            f"no {DEVICES}/video*: `depth_anything_ros demo` needs no camera; `camera --source` also takes files"
        )


def rates(section: Section, options: Options) -> None:
    """Measure each camera in its own process, so a camera that hangs does not affect the others."""
    section.facts["rates"] = None
    if not options.measures_cameras:
        if section.facts["devices"]:
            section.add_line("their rates were not measured: depth_anything_ros doctor --cameras")
        return
    measured: list[dict[str, Any]] = []
    section.facts["rates"] = measured
    giving = [entry["path"] for entry in section.facts["devices"] if entry["gives_images"]]
    for source in options.cameras or giving:
        result = _measure_in_child(source)
        measured.append({"source": result.pop("source", source), **result})
        _judge_rate(section, measured[-1])


STEPS = (devices, rates)


def _paths() -> list[Path]:
    names = [path for path in DEVICES.glob("video*") if path.name.removeprefix("video").isdecimal()]
    return sorted(names, key=lambda path: int(path.name.removeprefix("video")))


def _numbers(mode: CameraMode) -> dict[str, Any]:
    return {"width": mode.width, "height": mode.height, "rates": list(mode.rates)}


def _say_device(section: Section, path: Path, device: VideoDevice) -> None:
    section.add_line(f"{path}: {device.name} ({device.driver}){'' if device.gives_images else ', gives no images'}")
    for name, modes in groupby(device.modes, lambda mode: mode.pixel_format):
        section.add_line(f"  {name}: {', '.join(map(str, modes))}")


def _measure_in_child(source: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "depth_anything_ros.doctor.cameras", source]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=False)
        result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"problem": f"it gives no image within {SECONDS_TO_ANSWER:g} s: unplug it and plug it in again"}
    except (ValueError, IndexError):
        return {"problem": f"its process ended with status {answer.returncode}: {answer.stderr.strip()[-300:]}"}
    return result


def _judge_rate(section: Section, result: dict[str, Any]) -> None:
    source = result["source"]
    if result.get("problem"):
        section.problem(f"{source}: {result['problem']}")
        return
    rate, stated = result["rate"], result["stated_rate"]
    section.add_line(
        f"{source}: {rate:.1f} Hz measured over {result['images']} images of {result['width']}x{result['height']}"
        f"{f' ({mode})' if (mode := result['mode']) else ''}, longest gap {result['longest_gap']:.3f} s"
    )
    if stated and rate < LEAST_SHARE * stated:
        section.note(
            f"{source} gives {rate:.1f} instead of {stated:g} Hz: use more light (long exposure halves it), USB 3, "
            "or a smaller size. v4l2-ctl -d DEVICE --set-ctrl exposure_dynamic_framerate=0 keeps the rate"
        )


def measure(source: str) -> dict[str, Any]:
    """Read a camera for `SECONDS` and return its rate in Hz and its gaps in seconds, or the problem.

    Args:
        source: A number, a device or a URL.
    """
    from depth_anything_ros.capture.live_camera import LiveCamera, SourceError, without_password

    name = without_password(source)
    try:
        camera = LiveCamera(source, warn=lambda _: None)
    except SourceError as error:
        return {"source": name, "problem": str(error)}
    times, shape = _arrivals(camera)
    camera.close()
    if shape is None or len(times) < 2:
        return {"source": name, "problem": "it was opened but gives no images: is another program using it?"}
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return {
        "source": name,
        "problem": None,
        "mode": camera.mode,
        "width": shape[1],
        "height": shape[0],
        "images": len(times),
        "rate": len(gaps) / (times[-1] - times[0]),
        "median_gap": median(gaps),
        "longest_gap": max(gaps),
        "stated_rate": camera.stated_rate or None,
    }


def _arrivals(camera: Any) -> tuple[Sequence[float], tuple[int, ...] | None]:
    """Return the times of the images in seconds, and the shape of the first."""
    times: list[float] = []
    shape = None
    while not times or time.monotonic() - times[0] < SECONDS:
        if not camera.grab():
            break
        times.append(time.monotonic())
        if shape is None and (image := camera.retrieve()) is not None:
            shape = image.shape
    return times, shape


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
