"""Random materials by substance: paint, wood, metal, cloth, stone, pictures, plants."""

from __future__ import annotations

import colorsys
import random

from depth_anything_ros.synthetic import textures
from depth_anything_ros.synthetic.appearance import Color, Material
from depth_anything_ros.synthetic.mesh_pack import Mesh
from depth_anything_ros.synthetic.scene import Scene


class Substances:
    """Random materials for one scene. Every method adds one and returns its index, unless it returns a color.

    Args:
        scene: Scene that gets the materials.
        rng: Random numbers.
        pictures: Number of pictures in the atlas. The textures of meshes follow them.
    """

    def __init__(self, scene: Scene, rng: random.Random, pictures: int) -> None:
        self.scene = scene
        self.rng = rng
        self.pictures = pictures
        self.textures = 0 if scene.meshes is None else len(scene.meshes.textures)

    def shown(self) -> int:
        """Return the index of a random picture in the atlas. With a mesh pack, half of them are textures of meshes."""
        if self.textures and self.rng.random() < 0.5:
            return self.pictures + self.rng.randrange(self.textures)
        return self.rng.randrange(self.pictures)

    def is_photographed(self, share: float) -> bool:
        """Return True for a share of the surfaces, which then show a texture of the pack. False without a pack."""
        return self.textures > 0 and self.rng.random() < share

    def mesh(self, mesh: Mesh) -> int:
        """Add a mesh's materials, most often unchanged; return the index of the first."""
        rng, repaint = self.rng, self.rng.random() < 0.25
        first = len(self.scene.materials)
        for material in mesh.materials:
            color = material.color
            if repaint:
                color = self.color(0.8, 0.4 if material.texture >= 0 else 0.1, 0.95)
            textured = material.texture >= 0
            self.add(
                textures.PICTURE if textured else textures.PLAIN,
                color,
                scale=0.0 if textured else 1.0,
                photograph=self.pictures + material.texture if textured else 0,
                specular=material.specular,
                gloss=material.gloss,
                mirror=rng.choice((0.0, 0.0, 0.0, 0.06)) if material.specular > 0.2 else 0.0,
            )
        return first

    def color(self, saturation: float = 0.4, low: float = 0.1, high: float = 0.9) -> Color:
        """Draw a color as linear reflectance.

        Args:
            saturation: largest saturation.
            low: smallest brightness as displayed.
            high: largest brightness as displayed.
        """
        rng = self.rng
        hue = rng.random() if rng.random() < 0.5 else rng.gauss(0.09, 0.06) % 1.0
        value = rng.uniform(low, high)
        return tuple(c**2.2 for c in colorsys.hsv_to_rgb(hue, saturation * rng.random() ** 1.6, value))

    def near(self, color: Color, spread: float = 0.3) -> Color:
        """Return a brighter or darker, slightly tinted variant of a color; ``spread``: largest relative change."""
        factor = self.rng.uniform(1.0 - spread, 1.0 + spread)
        return tuple(min(0.95, c * factor * self.rng.uniform(0.9, 1.1)) for c in color)

    def add(self, pattern: int, first: Color, second: Color | None = None, **settings) -> int:
        """Add a material; ``second`` defaults to ``first``, and ``settings`` are further fields of `Material`."""
        second = self.near(first) if second is None else second
        settings.setdefault("seed", self.rng.randrange(1 << 20))
        return self.scene.material(Material(pattern, first, second, **settings))

    def stained(self) -> dict:
        """Return settings for large faint stains."""
        return {"dirt": self.rng.uniform(0.0, 0.4), "dirt_scale": self.rng.uniform(0.2, 1.5)}

    def plain(self, saturation: float = 0.4, low: float = 0.1, high: float = 0.9) -> int:
        """Add paint; arguments as for `color`."""
        return self.add(textures.PLAIN, self.color(saturation, low, high), **self.stained())

    def plastic(self) -> int:
        """Add a glossy, often saturated surface of an object."""
        gloss = self.rng.uniform(10, 120)
        return self.add(
            textures.PLAIN, self.color(1.0), specular=self.rng.uniform(0.02, 0.4), gloss=gloss, **self.stained()
        )

    def metal(self) -> int:
        """Add gray or tinted metal."""
        tint = self.color(0.3, 0.2, 0.7)
        return self.add(
            textures.PLAIN,
            tint,
            specular=self.rng.uniform(0.2, 1.0),
            gloss=self.rng.uniform(20, 90),
            mirror=self.rng.choice((0, 0.1, 0.35)),
        )

    def wood(self, planked: bool = False) -> int:
        """Add wood, in planks or as one piece."""
        rng = self.rng
        hue, value = rng.uniform(0.04, 0.11), rng.uniform(0.2, 0.85)
        light = tuple(c**2.2 for c in colorsys.hsv_to_rgb(hue, rng.uniform(0.15, 0.65), value))
        dark = tuple(c * rng.uniform(0.45, 0.8) for c in light)
        return self.add(
            textures.WOOD,
            light,
            dark,
            scale=rng.uniform(0.06, 0.22),
            aspect=rng.uniform(5.0, 14.0),
            angle=rng.choice((0.0, 1.5708)),
            variation=rng.uniform(0.15, 0.7) if planked else 0.0,
            specular=rng.choice((0.0, 0.05, 0.2)),
            mirror=rng.choice((0.0, 0.0, 0.03)),
        )

    def masonry(self) -> int:
        """Add bricks, blocks or tiles."""
        rng = self.rng
        if rng.random() < 0.5:
            brick = tuple(
                c**2.2 for c in colorsys.hsv_to_rgb(rng.uniform(0.0, 0.1), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.8))
            )
            height = rng.choice((0.065, 0.075, 0.2))
            return self.add(
                textures.BRICK,
                brick,
                self.color(0.1, 0.4, 0.85),
                scale=height,
                aspect=3.0,
                variation=rng.uniform(0.1, 0.8),
                **self.stained(),
            )
        return self.tiles()

    def tiles(self) -> int:
        """Add tiles, sometimes glossy."""
        rng = self.rng
        base = self.color(0.4, 0.2, 0.95)
        pattern = rng.choice((textures.TILE, textures.TILE, textures.BRICK, textures.CHECKER))
        return self.add(
            pattern,
            base,
            self.near(base, 0.6),
            scale=rng.uniform(0.1, 0.8),
            aspect=rng.choice((1.0, 1.0, 2.0)),
            angle=rng.choice((0.0, 0.0, 0.785)),
            variation=rng.uniform(0.0, 0.3),
            specular=rng.choice((0.0, 0.1, 0.3)),
            mirror=rng.choice((0.0, 0.03, 0.12)),
            **self.stained(),
        )

    def fabric(self) -> int:
        """Add cloth or carpet."""
        if self.is_photographed(0.3):
            return self.picture_repeated(self.rng.uniform(0.1, 1.0))
        rng, kind = self.rng, self.rng.random()
        base = self.color(0.7, 0.1, 0.9)
        if kind < 0.35:
            return self.add(
                textures.STAINED, base, self.near(base, 0.5), scale=rng.uniform(0.01, 0.2), **self.stained()
            )
        if kind < 0.6:
            return self.add(
                textures.WEAVE, base, self.near(base, 0.5), scale=rng.uniform(0.004, 0.06), **self.stained()
            )
        if kind < 0.75:
            return self.add(
                textures.STRIPES,
                base,
                self.color(0.6),
                scale=rng.uniform(0.02, 0.3),
                variation=rng.random(),
                angle=rng.choice((0, 0.785, 1.571)),
            )
        if kind < 0.85:
            return self.add(textures.CHECKER, base, self.near(base, 0.6), scale=rng.uniform(0.02, 0.2))
        if kind < 0.93:
            return self.picture_repeated(rng.uniform(0.1, 0.6))
        return self.add(textures.PLAIN, base, **self.stained())

    def stone(self) -> int:
        """Add stone, plaster, concrete or marble."""
        rng = self.rng
        base = self.color(0.2, 0.2, 0.9)
        if rng.random() < 0.3:
            return self.add(
                textures.MARBLE,
                base,
                self.near(base, 0.6),
                scale=rng.uniform(0.1, 0.8),
                specular=0.2,
                mirror=rng.choice((0, 0.05)),
            )
        return self.add(textures.SOLID, base, self.near(base, 0.5), scale=rng.uniform(0.02, 0.5), **self.stained())

    def picture(self, whole: bool = False) -> int:
        """Add a picture, or part of one, over a whole face."""
        rng = self.rng
        part = 1.0 if whole else rng.uniform(0.3, 1.0)
        left, bottom = rng.uniform(0.0, 1.0 - part), rng.uniform(0.0, 1.0 - part)
        tint = rng.uniform(0.5, 0.95)
        return self.add(
            textures.PICTURE,
            (tint, tint * rng.uniform(0.85, 1.0), tint * rng.uniform(0.75, 1.0)),
            scale=0.0,
            photograph=self.shown(),
            left=left,
            bottom=bottom,
            right=left + part,
            top=bottom + part,
            specular=rng.choice((0.0, 0.0, 0.15)),
        )

    def picture_repeated(self, size: float) -> int:
        """Add a picture that repeats every ``size`` meters, as on wallpaper or cloth."""
        return self.add(textures.PICTURE, (0.8, 0.8, 0.8), scale=size, photograph=self.shown())

    def writing(self) -> int:
        """Add paper with lines of words."""
        return self.add(
            textures.WRITING,
            self.color(0.1, 0.75, 0.98),
            self.color(0.3, 0.05, 0.3),
            scale=self.rng.uniform(0.004, 0.03),
        )

    def spines(self) -> int:
        """Add a painted flat row of books."""
        return self.add(textures.SPINES, self.color(0.9), self.color(0.9), scale=self.rng.uniform(0.04, 0.1))

    def glowing(self, color: Color, strength: float) -> int:
        """Add a light-emitting surface.

        Args:
            color: linear RGB.
            strength: multiple of the color that it emits.
        """
        return self.add(textures.PLAIN, color, emission=strength)

    def foliage(self) -> int:
        """Add leaves."""
        rng = self.rng
        hue = rng.uniform(0.1, 0.42) if rng.random() < 0.9 else rng.uniform(0.0, 0.1)
        light = tuple(c**2.2 for c in colorsys.hsv_to_rgb(hue, rng.uniform(0.3, 0.8), rng.uniform(0.35, 0.75)))
        return self.add(
            textures.LEAVES,
            tuple(0.4 * c for c in light),
            light,
            scale=rng.uniform(0.08, 0.4),
            dirt=0.3,
            dirt_scale=0.8,
        )
