"""Augmentation of the network's images: colors, blur and, for the student, CutMix (loss: `losses.cut_and_mixed_loss`).

Depth Anything (arXiv 2401.10891) §3.2: strong color jitter, Gaussian blur and CutMix. Its strengths are not published.
The defaults, and the boxes of CutMix, are those of UniMatch (arXiv 2208.09910), by the same first author. Three things
differ from UniMatch. It changes brightness, contrast, saturation and hue in a random order; here the order is fixed. It
mixes an image with one of a second batch that is drawn only for that; here it is the neighbor in the same batch, so
that no image is read and labeled only to show a piece of it. It rounds to bytes after each change and blurs with
Pillow's approximation of a Gaussian; here images stay in floating point.

The parameters are drawn where the image is read, from the run's seed and the sample's position. They are applied where
the network runs, so that teacher and student share one copy of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from depth_anything_ros.training.settings import AugmentationSettings

LUMA = (0.299, 0.587, 0.114)
BOX_TRIALS = 100
"""Boxes to draw before the aspect of one that does not fit is limited; in a square image one in four fits."""


@dataclass  # not frozen, like the batch that contains it
class Perturbation:
    """The augmentation of a batch, each a tensor (N, …); of one image, where it is drawn.

    Attributes:
        brightness: factor, 1 for no change.
        contrast: factor, 1 for no change.
        saturation: factor, 1 for no change.
        hue: change in turns.
        gray: 1 for an image without colors, else 0.
        blur: the Gaussian's standard deviation in pixels, 0 for no blur.
        cut: top, left, bottom, right of the piece from the partner image; empty for none.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor
    blur: Tensor
    cut: Tensor


def draw_perturbation(
    settings: AugmentationSettings, size: tuple[int, int], generator: np.random.Generator
) -> Perturbation:
    """Draw the augmentation of one image.

    Args:
        settings: ranges and probabilities.
        size: (height, width) of the image.
        generator: source of random numbers.
    """
    brightness = contrast = saturation = 1.0
    hue = blur = 0.0
    if generator.random() < settings.color_share:
        brightness, contrast, saturation = (
            generator.uniform(1 - strength, 1 + strength)
            for strength in (settings.brightness, settings.contrast, settings.saturation)
        )
        hue = generator.uniform(-settings.hue, settings.hue)
    gray = float(generator.random() < settings.gray_share)
    if generator.random() < settings.blur_share:
        blur = generator.uniform(*settings.blur)
    cut = _draw_cut(settings, size, generator) if generator.random() < settings.cut_share else (0, 0, 0, 0)
    values = (brightness, contrast, saturation, hue, gray, blur)
    return Perturbation(*(torch.tensor(value, dtype=torch.float32) for value in values), torch.tensor(cut))


def _draw_cut(
    settings: AugmentationSettings, size: tuple[int, int], generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a box inside the image, drawn as in UniMatch.

    The area is drawn once; then the aspect, height by width, and the top left corner anywhere in the image, until the
    box is inside. So small and compact boxes near the top left are the most likely. If hardly any box fits, the
    aspect is limited instead.
    """
    height, width = size
    area = generator.uniform(*settings.cut_area) * height * width
    for _ in range(BOX_TRIALS):
        aspect = generator.uniform(*settings.cut_aspect)
        box_height, box_width = max(1, int(np.sqrt(area * aspect))), max(1, int(np.sqrt(area / aspect)))
        top, left = int(generator.integers(height)), int(generator.integers(width))
        if top + box_height <= height and left + box_width <= width:
            return top, left, top + box_height, left + box_width
    box_width = min(width, max(1, round(max(np.sqrt(area / aspect), area / height))))
    box_height = min(height, max(1, round(area / box_width)))
    top, left = int(generator.integers(height - box_height + 1)), int(generator.integers(width - box_width + 1))
    return top, left, top + box_height, left + box_width


def stack_perturbations(drawn: Sequence[Perturbation]) -> Perturbation:
    """Return the augmentation of a batch from those of its images."""
    return Perturbation(*(torch.stack(values) for values in zip(*map(_fields, drawn), strict=True)))


def _fields(perturbation: Perturbation) -> tuple[Tensor, ...]:
    return tuple(vars(perturbation).values())


def change_colors(images: Tensor, perturbation: Perturbation) -> Tensor:
    """Change brightness, contrast, saturation and hue, in this order, then gray.

    Each is defined as in Pillow and torchvision: contrast about the mean luma, saturation about each pixel's luma, hue
    in HSV.

    Args:
        images: float32 (N, 3, H, W), 0 to 1.
        perturbation: of the batch.
    """
    brightness, contrast, saturation, gray = (
        values.view(-1, 1, 1, 1)
        for values in (perturbation.brightness, perturbation.contrast, perturbation.saturation, perturbation.gray)
    )
    images = (images * brightness).clamp(0, 1)
    images = torch.lerp(_luma(images).mean(dim=(2, 3), keepdim=True), images, contrast).clamp(0, 1)
    images = torch.lerp(_luma(images), images, saturation).clamp(0, 1)
    images = turn_hue(images, perturbation.hue)
    return torch.where(gray > 0, _luma(images), images)


def _luma(images: Tensor) -> Tensor:
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Change the hue of each pixel in HSV; value and saturation stay the same, and so do gray pixels.

    Args:
        images: float32 (N, 3, H, W), 0 to 1.
        turns: change of each image (N,).
    """
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    after_green = torch.where(value == green, 2 * chroma + blue - red, 4 * chroma + red - green)
    sixths = torch.where(value == red, green - blue, after_green) / chroma.clamp(min=torch.finfo(images.dtype).tiny)
    starts = images.new_tensor((5.0, 3.0, 1.0)).view(1, 3, 1, 1)
    offsets = (starts + sixths + 6 * turns.view(-1, 1, 1, 1)) % 6
    return value - chroma * torch.minimum(offsets, 4 - offsets).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor, radius: int = 6) -> Tensor:
    """Blur images with a Gaussian.

    Args:
        images: float (N, 3, H, W).
        sigma: standard deviation for each image (N,), pixels; 0 for no blur.
        radius: of the kernel, pixels.
    """
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3).view(-1, 1)).square())
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    count, _, height, width = images.shape
    planes = images.reshape(1, 3 * count, height, width)
    across = F.pad(planes, (radius, radius, 0, 0), mode="replicate")
    planes = F.conv2d(across, kernels.view(-1, 1, 1, 2 * radius + 1), groups=3 * count)
    down = F.pad(planes, (0, 0, radius, radius), mode="replicate")
    planes = F.conv2d(down, kernels.view(-1, 1, 2 * radius + 1, 1), groups=3 * count)
    return planes.view_as(images)


def partners(values: Tensor) -> Tensor:
    """Return for each image of a batch its mixing partner, the neighbor in its pair; (N, …) with even N.

    Neighbors are random, since a batch is drawn at random. UniMatch takes partners from a second batch.
    """
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def own_region(cut: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where each mixed image shows itself and not its partner, bool (N, H, W).

    Args:
        cut: as in `Perturbation`, (N, 4).
        size: (height, width).
    """
    rows = torch.arange(size[0], device=cut.device).view(1, -1, 1)
    columns = torch.arange(size[1], device=cut.device).view(1, 1, -1)
    top, left, bottom, right = cut.view(-1, 4, 1, 1).unbind(1)
    return ~((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))


def change(images: Tensor, perturbation: Perturbation) -> Tensor:
    """Change colors and blur, without mixing.

    Args:
        images: float32 (N, 3, H, W), 0 to 1.
        perturbation: of the batch.
    """
    with torch.autocast(images.device.type, enabled=False):  # pixels have more steps than bfloat16 between 0.5 and 1
        return blur(change_colors(images, perturbation), perturbation.blur)


def perturb(images: Tensor, perturbation: Perturbation) -> tuple[Tensor, Tensor]:
    """Change colors, blur and mix.

    Args:
        images: clean images, float32 (N, 3, H, W), 0 to 1, with even N.
        perturbation: of the batch.

    Returns:
        The student's images, float32 (N, 3, H, W), and where each shows itself, bool (N, H, W).
    """
    changed = change(images, perturbation)
    region = own_region(perturbation.cut, images.shape[-2:])
    return torch.where(region[:, None], changed, partners(changed)), region
