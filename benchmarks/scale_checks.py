"""Tests the checks of `calibrate` on the 30 Hz kitchen with its depth as a cloud, and one fault at a time.

The degraded network (see scale_frames.py) is made from the recorded depth, with several sizes of its errors and two
seeds each. It is the best case: its errors differ from frame to frame. The bundled model is a coarse network.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scale_frames import SETS, Network, bundled, degraded, frames

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import Frame, Measurement, fit_frames
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.sensor_points import from_points
from depth_anything_ros.scale.source_report import check_sensor

PERIOD = 1 / 30
EVERY = 10
"""Every so many frames the network sees one; the cloud is there in each."""
STRIDE = 8
CAMERA = Camera(640, 480, 525.0, 525.0, 320.0, 240.0)
FLOORS = (0.03, 0.05, 0.1)
"""AbsRel of the degraded networks after the best scale and shift."""
SEEDS = (0, 1000)
INVERSE = KINDS["inverse_affine"]


@dataclass(frozen=True)
class Fault:
    """A fault of the sensor.

    Attributes:
        late: seconds by which its stamps are late.
        turn: degrees about x, y, z by which its extrinsics are turned.
        shift: meters by which they are shifted.
    """

    late: float = 0.0
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def extrinsics(self) -> Transform:
        """The stated extrinsics; the true ones are the identity."""
        return Transform(cv2.Rodrigues(np.radians(self.turn))[0], np.array(self.shift))


FAULTS = {
    "none": Fault(),
    "stamps 0.080 s late": Fault(late=0.08),
    "turned by 1.5° about x": Fault(turn=(1.5, 0.0, 0.0)),
    "turned by 1.5° about y": Fault(turn=(0.0, 1.5, 0.0)),
    "turned by 1.5° about z": Fault(turn=(0.0, 0.0, 1.5)),
    "shifted by 5 cm along x": Fault(shift=(0.05, 0.0, 0.0)),
    "shifted by 5 cm along y": Fault(shift=(0.0, 0.05, 0.0)),
}


def seen_by(network: Network, seed: int) -> list[Frame]:
    """Return the frames with the network's output."""
    return [
        Frame(number * EVERY * PERIOD, network(image, depth, seed + number), CAMERA, image)
        for number, (image, depth) in enumerate(frames(SETS[1], slice(0, None, EVERY)))
    ]


def clouds() -> list[np.ndarray]:
    """Return the points (N, 3) of each frame, in meters in the camera's frame."""
    rows, columns = np.mgrid[STRIDE // 2 : 480 : STRIDE, STRIDE // 2 : 640 : STRIDE]
    pixels, found = np.stack([columns.ravel(), rows.ravel()], axis=1), []
    for _, depth in frames(SETS[1], slice(None)):
        z = depth[pixels[:, 1], pixels[:, 0]].astype(np.float64)
        found.append(CAMERA.back_project(pixels[np.isfinite(z)], z[np.isfinite(z)]))
    return found


def checked(seen: Sequence[Frame], points: Sequence[np.ndarray], fault: Fault) -> tuple[str, str]:
    """Return the texts of the checks of clock and extrinsics."""
    extrinsics = fault.extrinsics
    measurements = []
    for number, one in enumerate(points):
        time = number * PERIOD + fault.late
        known = from_points(extrinsics.apply(one), CAMERA, 0.02, 0.0, time)
        measurements.append(Measurement(time, extrinsics, lambda _, known=known: known))
    fits, _ = fit_frames(INVERSE, seen, measurements)
    clock, position = check_sensor(INVERSE, "point_cloud", seen, measurements, fits)
    return clock.text, position.text


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the texts of the checks, for each fault and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), help="default: all")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    points = clouds()
    networks: dict[str, Callable[[], list[Frame]]] = {
        f"degraded {floor:g}, seed {seed}": lambda floor=floor, seed=seed: seen_by(degraded(floor), seed)
        for floor in FLOORS
        for seed in SEEDS
    }
    networks["bundled"] = lambda: seen_by(bundled("tiny"), 0)
    for name, make in networks.items():
        seen = make()
        for fault in args.faults:
            clock, position = checked(seen, points, FAULTS[fault])
            print(f"{name}; {fault}\n  clock: {clock}\n  extrinsics: {position}", flush=True)


if __name__ == "__main__":
    main()
