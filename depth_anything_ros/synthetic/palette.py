"""Random materials by use: walls, floors, objects, streets."""

from __future__ import annotations

import colorsys

from depth_anything_ros.synthetic import textures
from depth_anything_ros.synthetic.substances import Substances


class Palette(Substances):
    """Materials by use, besides those by substance."""

    def wall(self) -> int:
        """Add the surface of a room's wall: most often paint, or paper, wood, brick, tiles."""
        if self.is_photographed(0.12):
            return self.picture_repeated(self.rng.uniform(0.4, 3.0))
        rng, kind = self.rng, self.rng.random()
        base = self.color(0.35, 0.45, 0.97)
        if kind < 0.55:
            return self.add(textures.PLAIN, base, dirt=rng.uniform(0.0, 0.25), dirt_scale=rng.uniform(0.3, 2.0))
        if kind < 0.68:
            return self.add(
                textures.STAINED, base, self.near(base, 0.15), scale=rng.uniform(0.02, 0.6), **self.stained()
            )
        if kind < 0.76:
            return self.add(textures.STRIPES, base, scale=rng.uniform(0.05, 0.4), variation=rng.random())
        if kind < 0.82:
            return self.picture_repeated(rng.uniform(0.2, 1.0))
        if kind < 0.88:
            return self.wood(planked=True)
        return self.masonry()

    def floor(self) -> int:
        """Add the surface of a room's floor."""
        if self.is_photographed(0.25):
            return self.picture_repeated(self.rng.uniform(0.4, 2.5))
        rng, kind = self.rng, self.rng.random()
        if kind < 0.4:
            return self.wood(planked=True)
        if kind < 0.6:
            return self.tiles()
        if kind < 0.85:
            return self.fabric()
        base = self.color(0.2, 0.2, 0.8)
        return self.add(
            textures.SPECKLE, base, scale=rng.uniform(0.005, 0.05), mirror=rng.choice((0, 0.05, 0.15)), **self.stained()
        )

    def object(self) -> int:
        """Add the surface of a small object."""
        sorts = (
            self.plastic,
            self.plastic,
            self.plain,
            self.wood,
            self.metal,
            self.stone,
            self.fabric,
            self.picture,
            self.writing,
        )
        return self.rng.choice(sorts)()

    def ground(self) -> int:
        """Add grass, soil, sand, gravel or snow."""
        rng = self.rng
        hue, value = rng.uniform(0.07, 0.3), rng.uniform(0.25, 0.75)
        base = tuple(c**2.2 for c in colorsys.hsv_to_rgb(hue, rng.uniform(0.1, 0.6), value))
        return self.add(
            textures.STAINED,
            base,
            self.near(base, 0.6),
            scale=rng.uniform(0.05, 2.0),
            dirt=0.6,
            dirt_scale=rng.uniform(0.5, 8.0),
        )

    def asphalt(self) -> int:
        """Add the surface of a road or a pavement."""
        rng = self.rng
        base = self.color(0.1, 0.25, 0.6)
        return self.add(
            textures.STAINED,
            base,
            self.near(base, 0.25),
            scale=rng.uniform(0.01, 0.05),
            dirt=0.35,
            dirt_scale=rng.uniform(1.0, 4.0),
            specular=0.05,
        )

    def facade(self) -> int:
        """Add a building's front with windows."""
        rng = self.rng
        return self.add(
            textures.FACADE,
            self.color(0.35, 0.3, 0.9),
            self.color(0.4, 0.1, 0.5),
            scale=rng.uniform(2.6, 4.0),
            aspect=rng.uniform(0.5, 1.3),
            **self.stained(),
        )
