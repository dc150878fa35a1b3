"""What happens to an image and its inverse depth between the disk and the network.

One geometric warp (crop, stretch, roll, mirror) for both, then photometric changes of the image alone. They are mild:
the renderer has varied exposure, white balance, blur and noise already, and a short run cannot afford more.
"""

from __future__ import annotations

import cv2
import numpy as np

INVALID = -1.0
"""Marks pixels of inverse depth that the warp brought in from outside."""


def warp(
    image: np.ndarray, inverse_depth: np.ndarray, size: tuple[int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, stretched to ``size`` (height, width), sometimes rolled by a few degrees and mirrored.

    ``image`` uint8 (H, W, 3), ``inverse_depth`` float32 (H, W); pixels from outside become black and `INVALID`.
    """
    height, width = image.shape[:2]
    target_height, target_width = size
    aspect = target_width / target_height * np.exp(generator.uniform(-0.15, 0.15))
    area = generator.uniform(0.35, 1.0)
    crop_width = min(width, height * aspect) * np.sqrt(area)
    crop_height = crop_width / aspect
    centre = (
        generator.uniform(crop_width / 2, width - crop_width / 2),
        generator.uniform(crop_height / 2, height - crop_height / 2),
    )
    roll = np.deg2rad(generator.normal(0.0, 2.0))
    mirror = -1.0 if generator.random() < 0.5 else 1.0
    step_x, step_y = mirror * crop_width / target_width, crop_height / target_height
    linear = np.array([[np.cos(roll) * step_x, -np.sin(roll) * step_y], [np.sin(roll) * step_x, np.cos(roll) * step_y]])
    offset = np.array(centre) - 0.5 - linear @ np.array([(target_width - 1) / 2, (target_height - 1) / 2])
    matrix = np.column_stack([linear, offset])
    inverse = cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, (target_width, target_height), flags=cv2.INTER_LINEAR | inverse)
    target = cv2.warpAffine(
        inverse_depth,
        matrix,
        (target_width, target_height),
        flags=cv2.INTER_NEAREST | inverse,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=INVALID,
    )
    return warped, target


def jitter_colour(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation (strengths 0.3) and white balance (0.1); grey for one image in ten."""
    pixels = image.astype(np.float32) / 255.0
    if generator.random() < 0.8:
        brightness, contrast, saturation = generator.uniform(0.7, 1.3, 3)
        pixels = pixels * brightness
        pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
        grey = pixels @ np.float32([0.299, 0.587, 0.114])
        pixels = grey[..., None] + (pixels - grey[..., None]) * saturation
        pixels = pixels * generator.uniform(0.9, 1.1, 3).astype(np.float32)
    if generator.random() < 0.1:
        pixels = np.repeat((pixels @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, axis=2)
    return pixels


def degrade(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Blur, and noise of a real sensor's size; float32 in, float32 out, 0..1."""
    if generator.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), generator.uniform(0.1, 1.2))
    if generator.random() < 0.2:
        noise = generator.standard_normal(pixels.shape, dtype=np.float32)
        pixels = pixels + noise * np.float32(generator.uniform(0.0, 0.03))
    return np.clip(pixels, 0.0, 1.0)


def augment(
    image: np.ndarray, inverse_depth: np.ndarray, size: tuple[int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Warp, colours, degradation: (image uint8 (h, w, 3), inverse depth float32 (h, w), `INVALID` where unknown)."""
    image, inverse_depth = warp(image, inverse_depth, size, generator)
    pixels = degrade(jitter_colour(image, generator), generator)
    return (pixels * 255.0 + 0.5).astype(np.uint8), inverse_depth
