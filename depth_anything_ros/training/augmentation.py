"""What happens to an image and its inverse depth between the disk and the network.

One geometric warp (crop, stretch, roll, mirror) for both, then photometric changes of the image alone. They are mild:
the renderer has varied exposure, white balance, blur and noise already, and a short run cannot afford more.
"""

from __future__ import annotations

import cv2
import numpy as np


def warp(
    image: np.ndarray, inverse_depth: np.ndarray, size: tuple[int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, rolled by a few degrees, stretched to ``size`` (height, width), sometimes mirrored.

    ``image`` uint8 (H, W, 3), ``inverse_depth`` float32 (H, W). The crop lies inside the image, its rolled corners too:
    black corners would teach nothing, and leave what a network says of a picture's corners to chance.
    """
    height, width = image.shape[:2]
    target_height, target_width = size
    aspect = target_width / target_height * np.exp(generator.uniform(-0.15, 0.15))
    area = generator.uniform(0.35, 1.0)
    roll = np.deg2rad(generator.normal(0.0, 2.0))
    # The upright box around a rolled crop, for a crop one pixel wide.
    box_width = np.cos(roll) + abs(np.sin(roll)) / aspect
    box_height = abs(np.sin(roll)) + np.cos(roll) / aspect
    crop_width = min(width / box_width, height / box_height) * np.sqrt(area)
    crop_height = crop_width / aspect
    reach_x, reach_y = crop_width * box_width / 2, crop_width * box_height / 2
    centre = (generator.uniform(reach_x, width - reach_x), generator.uniform(reach_y, height - reach_y))
    mirror = -1.0 if generator.random() < 0.5 else 1.0
    step_x, step_y = mirror * crop_width / target_width, crop_height / target_height
    linear = np.array([[np.cos(roll) * step_x, -np.sin(roll) * step_y], [np.sin(roll) * step_x, np.cos(roll) * step_y]])
    offset = np.array(centre) - 0.5 - linear @ np.array([(target_width - 1) / 2, (target_height - 1) / 2])
    matrix = np.column_stack([linear, offset])
    warped, target = (
        cv2.warpAffine(
            plane,
            matrix,
            (target_width, target_height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for plane, interpolation in ((image, cv2.INTER_LINEAR), (inverse_depth, cv2.INTER_NEAREST))
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
    """Warp, colours, degradation: image uint8 (h, w, 3) and inverse depth float32 (h, w)."""
    image, inverse_depth = warp(image, inverse_depth, size, generator)
    pixels = degrade(jitter_colour(image, generator), generator)
    return (pixels * 255.0 + 0.5).astype(np.uint8), inverse_depth
