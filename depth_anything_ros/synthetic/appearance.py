"""Materials, lamps and sky, and the columns of their packed rows that the kernels read."""

from __future__ import annotations

from dataclasses import astuple, dataclass

Color = tuple[float, float, float]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """The look of a surface, in linear reflectances and meters. Kernels rely on the order of the fields.

    Attributes:
        pattern: one of `textures`' patterns.
        first: first color of the pattern.
        second: second color of the pattern.
        scale: size of the pattern's feature (a brick's length, a plank's width).
        aspect: width over height of that feature.
        angle: rotation of the pattern on its face, radians.
        dirt: contrast of large stains over it.
        dirt_scale: size of these stains.
        specular: strength of highlights.
        gloss: exponent of highlights.
        mirror: reflectance of the mirror at normal incidence.
        emission: emitted light, as a multiple of the pattern's color.
        photograph: index of a picture in the atlas, for the pattern PICTURE.
        left, bottom, right, top: the used part of that picture, in [0, 1]; with ``scale`` > 0 it repeats every
            ``scale``.
        seed: distinguishes materials with the same pattern.
        variation: difference in brightness between one tile, plank or brick and the next.
    """

    pattern: int
    first: Color
    second: Color = (0.5, 0.5, 0.5)
    scale: float = 1.0
    aspect: float = 1.0
    angle: float = 0.0
    dirt: float = 0.0
    dirt_scale: float = 1.0
    specular: float = 0.0
    gloss: float = 20.0
    mirror: float = 0.0
    emission: float = 0.0
    photograph: int = 0
    left: float = 0.0
    bottom: float = 0.0
    right: float = 1.0
    top: float = 1.0
    seed: int = 0
    variation: float = 0.0

    def row(self) -> list[float]:
        """Return the fields as one row of numbers, with colors flattened."""
        pattern, first, second, *rest = astuple(self)
        return [pattern, *first, *second, *rest]


# Columns of a packed material, in the order of Material's fields.
(
    PATTERN,
    FIRST,
    _,
    _,
    SECOND,
    _,
    _,
    SCALE,
    ASPECT,
    ANGLE,
    DIRT,
    DIRT_SCALE,
    SPECULAR,
    GLOSS,
    MIRROR,
    EMISSION,
    PHOTOGRAPH,
) = range(17)
LEFT, BOTTOM, RIGHT, TOP, SEED, VARIATION = range(17, 23)


@dataclass(frozen=True)
class Lamp:
    """A small area light: position and radius in meters, color as power."""

    position: Vector
    radius: float
    color: Color


@dataclass
class Sky:
    """The sky that rays see when they leave the scene, and its ambient light.

    Attributes:
        zenith: color of the ambient gradient and of the sky.
        horizon: color of the ambient gradient and of the sky.
        ground: color of the ambient gradient from below.
        cloud_cover: 0 clear to 1 overcast.
        cloud_scale: size of clouds over the dome.
        sun_direction: unit vector to the sun.
        sun_color: its irradiance, (0, 0, 0) without sun.
        haze: color of the air.
        visibility: distance in meters at which 63 % of the light is the air's.
        backdrop: brightness of the visible sky relative to its ambient light; windows are brighter than a room.
        reach: length in meters of the rays that look for occluders of ambient light.
        bounce: share of ambient light that occluders reflect.
    """

    zenith: Color = (0.3, 0.5, 0.9)
    horizon: Color = (0.8, 0.85, 0.9)
    ground: Color = (0.3, 0.3, 0.3)
    cloud_cover: float = 0.5
    cloud_scale: float = 1.0
    sun_direction: Vector = (0.0, 0.6, 0.8)
    sun_color: Color = (0.0, 0.0, 0.0)
    haze: Color = (0.8, 0.85, 0.9)
    visibility: float = 1e9
    backdrop: float = 1.0
    reach: float = 3.0
    bounce: float = 0.5
    seed: int = 0

    def row(self) -> list[float]:
        """Return the fields as one row of numbers."""
        return [number for value in astuple(self) for number in (value if isinstance(value, tuple) else (value,))]


# Columns of a packed sky.
ZENITH, HORIZON, GROUND, CLOUD_COVER, CLOUD_SCALE, SUN, SUN_COLOR, HAZE = 0, 3, 6, 9, 10, 11, 14, 17
VISIBILITY, BACKDROP, REACH, BOUNCE, SKY_SEED = 20, 21, 22, 23, 24
