"""A simulated camera from linear light to a picture: exposure, white balance, tone, blur, vignette, noise, JPEG."""

from __future__ import annotations

import random

import cv2
import numpy as np


def photograph(color: np.ndarray, rng: random.Random) -> np.ndarray:
    """Turn linear radiance into an 8-bit picture.

    Args:
        color: (H, W, 3) float32 linear RGB, unbounded.
        rng: draws the camera's settings and the noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = color.shape[:2]
    luminance = color.mean(axis=2)
    # Exposure as in cameras, by a mean that bright spots (a lamp, the sun) do not dominate.
    metered = (
        np.exp(np.log(luminance + 1e-3).mean()) * 0.5 + 0.5 * np.minimum(luminance, np.percentile(luminance, 95)).mean()
    )
    image = color * (0.2 * 2.0 ** rng.gauss(0.0, 0.55) / max(metered, 1e-4))
    warmth, green = rng.gauss(0.0, 0.1), rng.gauss(0.0, 0.03)
    image = image * np.array([1.0 + warmth, 1.0 + green, 1.0 - warmth], np.float32)
    image = image * vignette(height, width, max(0.0, rng.gauss(0.05, 0.15)))
    if rng.random() < 0.3:
        image = blurred(image, rng)
    if rng.random() < 0.25:
        # Bright parts bleed into the rest, as through a dirty lens.
        veil = cv2.GaussianBlur(np.minimum(image, 4.0), (0, 0), width / 12.0)
        image = image + rng.uniform(0.02, 0.15) * veil
    image = tone(np.maximum(image, 0.0), rng)
    if rng.random() < 0.7:
        image = image + grain(height, width, rng)
    picture = np.clip(image * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    if rng.random() < 0.6:
        picture = compressed(picture, rng.randint(35, 95))
    return picture


def vignette(height: int, width: int, strength: float) -> np.ndarray:
    """Return a float32 factor (H, W, 1), 1 in the middle and about 1 - ``strength`` in the corners."""
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    return (1.0 / (1.0 + 0.5 * strength * (x * x + y * y)) ** 2)[:, :, None].astype(np.float32)


def blurred(image: np.ndarray, rng: random.Random) -> np.ndarray:
    """Return the image out of focus or, equally often, shaken along a line."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    size = rng.choice((3, 5, 7))
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    kernel[middle, :] = 1.0
    turn = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0.0, 180.0), 1.0)
    kernel = cv2.warpAffine(kernel, turn, (size, size))
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def tone(image: np.ndarray, rng: random.Random) -> np.ndarray:
    """Map linear light to display values in [0, 1]: a shoulder for highlights, gamma, saturation and contrast."""
    shoulder = rng.uniform(0.0, 0.8)
    image = image * (1.0 + shoulder) / (1.0 + shoulder * image)
    image = np.minimum(image, 1.0) ** (1.0 / rng.uniform(1.8, 2.5))
    gray = image.mean(axis=2, keepdims=True)
    image = gray + (image - gray) * max(0.0, rng.gauss(1.0, 0.2))
    middle = float(gray.mean())
    return middle + (image - middle) * rng.uniform(0.8, 1.2)


def grain(height: int, width: int, rng: random.Random) -> np.ndarray:
    """Return float32 sensor noise (H, W, 3), partly common to the channels, sometimes soft as after a denoiser."""
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    strength = 0.03 * rng.random() ** 2 + 0.002
    common = numbers.standard_normal((height, width, 1), np.float32)
    noise = strength * (0.7 * common + 0.6 * numbers.standard_normal((height, width, 3), np.float32))
    return cv2.GaussianBlur(noise, (0, 0), 0.7) * 1.5 if rng.random() < 0.4 else noise


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """Return the picture after JPEG compression; ``quality``: 0 to 100."""
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])
