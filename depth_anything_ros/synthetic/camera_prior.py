"""The distribution of camera positions and lenses in rendered scenes.

A layout proposes views from everywhere. A prior converts most of them to views of a robot's camera: level, at the
height of a robot, with a common lens. The other views stay wild.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from depth_anything_ros.synthetic.kinds import AT_ARMS_LENGTH, CAMERAS
from depth_anything_ros.synthetic.scene import View

LENSES = {
    "Kinect, Xtion": (58.0, 2.0),
    "Raspberry Pi camera 2": (62.0, 1.0),
    "phone, webcam": (66.0, 3.0),
    "RealSense color, OAK-D": (69.0, 3.0),
    "car, rectified": (81.0, 2.0),
    "RealSense depth, ZED HD": (87.0, 2.0),
    "wide": (105.0, 1.0),
}
"""Horizontal field of view in degrees and relative frequency of common cameras."""


@dataclass(frozen=True)
class CameraPrior:
    """The distribution of views. Angles are in radians, lengths in meters.

    Attributes:
        level_share: share of scenes that a level camera sees, among the kinds that have level views; the layout's own
            views see the others.
        height: lowest and highest level camera above the floor, drawn evenly.
        pitch: mean and standard deviation of a level camera's pitch, up positive.
        roll: standard deviation of a level camera's roll.
        clearance: least and most free space above the floor in front of a level camera, drawn evenly.
        lenses: horizontal field of view in degrees and relative frequency, by name, for level cameras.
        lens_spread: standard deviation of a lens's field of view, as a share of it: crops and tolerances.
    """

    level_share: float
    height: tuple[float, float] = (0.3, 1.8)
    pitch: tuple[float, float] = (-0.2, 0.15)
    roll: float = 0.02
    clearance: tuple[float, float] = (0.6, 1.6)
    lenses: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(LENSES))
    lens_spread: float = 0.04

    def views(self, kind: str, proposed: Sequence[View], rng: random.Random) -> list[View]:
        """Return the views of a scene of a kind: all level, or all as the layout proposed them."""
        if kind in AT_ARMS_LENGTH or rng.random() >= self.level_share:
            return list(proposed)
        return [self.level(view, rng) for view in proposed]

    def level(self, view: View, rng: random.Random) -> View:
        """Return a level view from the same place of the plan in the same direction."""
        (x, y, _), target = view.position, view.target
        bearing = math.atan2(target[1] - y, target[0] - x)
        height, pitch = rng.uniform(*self.height), rng.gauss(*self.pitch)
        flat = math.cos(pitch)
        ahead = (x + flat * math.cos(bearing), y + flat * math.sin(bearing), height + math.sin(pitch))
        degrees, often = zip(*self.lenses.values(), strict=True)
        lens = rng.choices(degrees, often)[0] * rng.gauss(1.0, self.lens_spread)
        return View((x, y, height), ahead, rng.gauss(0.0, self.roll), lens, rng.uniform(*self.clearance))


PRIORS = dict(zip(CAMERAS, (CameraPrior(level_share=0.85), CameraPrior(level_share=0.0)), strict=True))
"""The priors by name."""
