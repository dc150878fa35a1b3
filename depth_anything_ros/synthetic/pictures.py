"""Pictures for flat faces: prints, pages, covers and screens drawn here, and photographs from the caller.

They have perspective, shading and texture that are unrelated to the geometry they hang on. So a network learns to see
the poster and not the place in it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from depth_anything_ros.synthetic.textures import PICTURE_SIZE

DRAWN = 40


def with_levels(image: np.ndarray) -> np.ndarray:
    """Resize an RGB uint8 image to 256 x 256, with its mip levels in a strip on its right: (256, 384, 3) uint8."""
    level = cv2.resize(image, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)
    sheet = np.zeros((PICTURE_SIZE, PICTURE_SIZE * 3 // 2, 3), np.uint8)
    sheet[:, :PICTURE_SIZE] = level
    size = PICTURE_SIZE
    while size > 2:
        size //= 2
        level = cv2.resize(level, (size, size), interpolation=cv2.INTER_AREA)
        top = PICTURE_SIZE - 2 * size
        sheet[top : top + size, PICTURE_SIZE : PICTURE_SIZE + size] = level
    return sheet


def atlas(photographs: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return the drawn pictures, then the photographs, each with its mip levels: (P, 256, 384, 3) uint8.

    Raises:
        ValueError: a photograph is not (H, W, 3) uint8.
    """
    for photograph in photographs:
        if photograph.ndim != 3 or photograph.shape[2] != 3 or photograph.dtype != np.uint8:
            raise ValueError(f"a photograph must be (H, W, 3) uint8 RGB, not {photograph.shape} {photograph.dtype}")
    drawn = drawn_pictures()
    if not photographs:
        return drawn
    return np.concatenate([drawn, np.stack([with_levels(photograph) for photograph in photographs])])


@lru_cache(maxsize=1)
def drawn_pictures() -> np.ndarray:
    """Return the drawn pictures, (DRAWN, 256, 384, 3) uint8, the same in every process."""
    rng = random.Random(20240613)
    artists = (draw_page, draw_cover, draw_landscape, draw_shapes, draw_cloth, draw_portrait, draw_room, draw_screen)
    return np.stack([with_levels(artists[k % len(artists)](rng)) for k in range(DRAWN)])


def color(rng: random.Random, low: int = 20, high: int = 235) -> tuple[int, int, int]:
    """Draw a random RGB color, most often a muted one; ``low`` and ``high``: range of its channels."""
    base, spread = rng.randint(low, high), rng.choice((15, 40, 120))
    return tuple(min(255, max(0, base + rng.randint(-spread, spread))) for _ in range(3))


def gradient(first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return an image that changes from ``first`` at the top to ``second`` at the bottom."""
    weight = np.linspace(0.0, 1.0, PICTURE_SIZE)[:, None, None]
    column = np.array(first) * (1.0 - weight) + np.array(second) * weight
    return np.ascontiguousarray(np.broadcast_to(column, (PICTURE_SIZE, PICTURE_SIZE, 3))).astype(np.uint8)


def draw_page(rng: random.Random) -> np.ndarray:
    """Draw a page of text with a heading and perhaps a figure."""
    image = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), rng.randint(215, 250), np.uint8)
    ink = color(rng, 10, 60)
    line = rng.randint(7, 12)
    cv2.rectangle(image, (24, 18), (rng.randint(90, 220), 30), ink, -1)
    figure = rng.randint(50, 190) if rng.random() < 0.6 else -100
    for y in range(44, 240, line):
        if figure - line < y < figure + 50:
            continue
        x, end = 22, 234 if rng.random() < 0.85 else rng.randint(60, 200)
        while x < end:
            width = rng.randint(5, 22)
            cv2.rectangle(image, (x, y), (min(end, x + width), y + line // 2), ink, -1)
            x += width + 4
    if figure > 0:
        cv2.rectangle(image, (40, figure), (rng.randint(120, 210), figure + 44), color(rng), -1)
    return image


def draw_cover(rng: random.Random) -> np.ndarray:
    """Draw the front of a book or a packet."""
    image = gradient(color(rng), color(rng))
    for _ in range(rng.randint(1, 4)):
        x, y = rng.randint(0, 200), rng.randint(0, 200)
        cv2.rectangle(image, (x, y), (x + rng.randint(30, 200), y + rng.randint(8, 70)), color(rng), -1)
    for _ in range(rng.randint(1, 3)):
        word = "".join(rng.choice("ABDEGHKLMNORSTU") for _ in range(rng.randint(3, 9)))
        size, place = rng.uniform(0.7, 2.0), (rng.randint(5, 60), rng.randint(40, 240))
        cv2.putText(image, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, color(rng), rng.randint(2, 6), cv2.LINE_AA)
    return image


def draw_landscape(rng: random.Random) -> np.ndarray:
    """Draw hills under a sky, darker towards the viewer."""
    image = gradient((rng.randint(60, 180), rng.randint(120, 200), rng.randint(180, 250)), color(rng, 180, 240))
    columns = np.arange(PICTURE_SIZE)
    tone = np.array(color(rng, 110, 180), np.float64)
    for k in range(rng.randint(2, 5)):
        crest = 90 + 35 * k + 22 * np.sin(columns / rng.uniform(14, 60) + rng.uniform(0, 6))
        crest += 6 * np.sin(columns / rng.uniform(4, 9))
        outline = np.concatenate([np.stack([columns, crest], 1), [[PICTURE_SIZE, PICTURE_SIZE], [0, PICTURE_SIZE]]])
        cv2.fillPoly(image, [outline.astype(np.int32)], tuple(map(int, tone)))
        tone *= 0.75
    return image


def draw_shapes(rng: random.Random) -> np.ndarray:
    """Draw discs and blocks, as on a poster."""
    image = gradient(color(rng), color(rng))
    for _ in range(rng.randint(3, 18)):
        place, size = (rng.randint(0, 255), rng.randint(0, 255)), rng.randint(6, 90)
        if rng.random() < 0.5:
            cv2.circle(image, place, size, color(rng), rng.choice((-1, -1, 3)), cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((place, (size, rng.randint(6, 120)), rng.uniform(0, 180)))
            cv2.fillPoly(image, [corners.astype(np.int32)], color(rng), cv2.LINE_AA)
    return image


def draw_cloth(rng: random.Random) -> np.ndarray:
    """Draw a repeated ornament."""
    image = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), color(rng), np.uint8)
    cell, first, second = rng.choice((16, 32, 64)), color(rng), color(rng)
    for y in range(0, PICTURE_SIZE, cell):
        for x in range(0, PICTURE_SIZE, cell):
            middle = (x + cell // 2, y + cell // 2)
            cv2.circle(image, middle, cell // 3, first, -1, cv2.LINE_AA)
            cv2.line(image, (x, y), (x + cell, y + cell), second, max(1, cell // 12), cv2.LINE_AA)
    return image


def draw_portrait(rng: random.Random) -> np.ndarray:
    """Draw head and shoulders, shaded as if round."""
    image = gradient(color(rng), color(rng))
    skin, cloth = np.array((224, 172, 140)) * rng.uniform(0.35, 1.1), color(rng)
    cv2.ellipse(image, (128, 270), (100, 90), 0, 0, 360, cloth, -1, cv2.LINE_AA)
    for k in range(12):
        shade = tuple(int(min(255, c * (0.6 + 0.04 * k))) for c in skin)
        cv2.ellipse(image, (128 - k, 118 - k), (56 - 4 * k, 72 - 5 * k), 0, 0, 360, shade, -1, cv2.LINE_AA)
    cv2.ellipse(image, (128, 82), (62, 48), 0, 180, 360, color(rng, 10, 90), -1, cv2.LINE_AA)
    return image


def draw_room(rng: random.Random) -> np.ndarray:
    """Draw a room in perspective, or a corridor: depth that does not exist."""
    image = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    x, y = rng.randint(80, 176), rng.randint(80, 176)
    half = rng.randint(15, 60)
    near = [(0, 0), (255, 0), (255, 255), (0, 255)]
    far = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    base = np.array(color(rng, 90, 220), np.float64)
    for k in range(4):
        corners = np.array([near[k], near[(k + 1) % 4], far[(k + 1) % 4], far[k]], np.int32)
        cv2.fillPoly(image, [corners], tuple(map(int, base * rng.uniform(0.5, 1.1))))
    cv2.rectangle(image, far[0], far[2], tuple(map(int, base * rng.uniform(0.3, 1.1))), -1)
    for k in range(1, 8):
        across = 255 * k // 8
        cv2.line(image, (across, 255), (x - half + 2 * half * k // 8, y + half), (60, 50, 45), 1, cv2.LINE_AA)
    return image


def draw_screen(rng: random.Random) -> np.ndarray:
    """Draw windows of a computer's screen."""
    image = gradient(color(rng), color(rng))
    for _ in range(rng.randint(1, 4)):
        x, y = rng.randint(0, 120), rng.randint(0, 120)
        width, height = rng.randint(60, 180), rng.randint(50, 140)
        cv2.rectangle(image, (x, y), (x + width, y + height), color(rng, 200, 250), -1)
        cv2.rectangle(image, (x, y), (x + width, y + 9), color(rng, 60, 160), -1)
        for row in range(y + 16, y + height - 6, 8):
            cv2.line(image, (x + 6, row), (x + rng.randint(12, width), row), color(rng, 20, 120), 2)
    return image
