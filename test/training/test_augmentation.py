"""Perturbations against literal references, their distributions, and the independence of images."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("pydantic", reason="training needs the `train` extra")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.training.input.augmentation import (
    Perturbation,
    blur,
    change_colors,
    draw_perturbation,
    own_region,
    partners,
    perturb,
    stack_perturbations,
)
from depth_anything_ros.training.settings import AugmentationSettings

DEFAULT = AugmentationSettings()
NAMES = ("brightness", "contrast", "saturation", "hue", "gray", "blur", "cut")


def perturbation(count: int = 1, **values) -> Perturbation:
    """A perturbation of this many images: the given values, otherwise identity."""
    nothing = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "gray": 0.0, "blur": 0.0}
    scalars = [torch.as_tensor(values.get(name, [nothing[name]] * count), dtype=torch.float32) for name in nothing]
    return Perturbation(*scalars, torch.as_tensor(values.get("cut", [(0, 0, 0, 0)] * count)))


def noise(count: int, height: int = 9, width: int = 11, low: float = 0.0, high: float = 1.0, seed: int = 0):
    values = np.random.default_rng(seed).uniform(low, high, (count, 3, height, width))
    return torch.from_numpy(values.astype(np.float32))


def literal_colors(image: np.ndarray, brightness, contrast, saturation, hue, gray) -> np.ndarray:
    """Change an image (3, H, W) in double precision, pixel by pixel; hue by Python's own HSV."""
    image = np.clip(image.astype(np.float64) * brightness, 0, 1)
    mean = np.mean(0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2])
    image = np.clip(mean + contrast * (image - mean), 0, 1)
    changed = np.empty_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            pixel = image[:, row, column]
            luma = pixel @ (0.299, 0.587, 0.114)
            h, s, v = colorsys.rgb_to_hsv(*np.clip(luma + saturation * (pixel - luma), 0, 1))
            turned = np.array(colorsys.hsv_to_rgb((h + hue) % 1.0, s, v))
            changed[:, row, column] = turned @ (0.299, 0.587, 0.114) if gray else turned
    return changed


COLORS = [
    (1.4, 1.0, 1.0, 0.0, 0),
    (0.6, 1.0, 1.0, 0.0, 0),
    (1.0, 1.5, 1.0, 0.0, 0),
    (1.0, 0.5, 1.0, 0.0, 0),
    (1.0, 1.0, 1.5, 0.0, 0),
    (1.0, 1.0, 0.5, 0.0, 0),
    (1.0, 1.0, 1.0, 0.25, 0),
    (1.0, 1.0, 1.0, -0.1, 0),
    (1.3, 0.7, 1.4, 0.2, 0),
    (0.8, 1.3, 1.2, -0.2, 1),
]


def test_color_changes_match_reference_per_image():
    images = noise(len(COLORS))
    values = dict(zip(NAMES, zip(*COLORS, strict=True), strict=False))
    changed = change_colors(images, perturbation(len(COLORS), **values))
    assert changed.dtype == torch.float32
    for image, ours, parameters in zip(images.numpy(), changed.numpy(), COLORS, strict=True):
        np.testing.assert_allclose(ours, literal_colors(image, *parameters), atol=1e-5, err_msg=str(parameters))
        assert np.abs(ours - image).max() > 0.02


def test_identity_perturbation_changes_nothing():
    images = noise(4)
    changed, region = perturb(images, perturbation(4))
    np.testing.assert_allclose(changed, images, atol=1e-6)
    assert region.all()


def test_hue_rotation_keeps_value_saturation_and_gray():
    hues = [-0.25, -0.1, 0.1, 0.25]
    images = noise(4)
    turned = change_colors(images, perturbation(4, hue=hues))
    for extreme in (torch.amax, torch.amin):
        np.testing.assert_allclose(extreme(turned, dim=1), extreme(images, dim=1), atol=1e-6)
    assert (turned - images).abs().amax((1, 2, 3)).min() > 0.1
    gray = images[:, :1].expand(-1, 3, -1, -1)
    np.testing.assert_allclose(change_colors(gray, perturbation(4, hue=hues)), gray, atol=1e-6)


def test_hue_matches_pillow_within_rounding():
    """With which UniMatch turns it: 64 of its 256 steps are a quarter of a turn."""
    image_module = pytest.importorskip("PIL.Image", reason="it is what is compared with")
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    h, s, v = np.moveaxis(np.array(image_module.fromarray(pixels).convert("HSV")), -1, 0)
    bands = [image_module.fromarray(band) for band in (h + np.uint8(64), s, v)]
    theirs = image_module.merge("HSV", bands).convert("RGB")
    images = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
    ours = change_colors(images, perturbation(hue=[0.25]))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - np.array(theirs)).max() < 10  # a step of hue is six levels
    assert np.abs(ours - np.array(theirs)).mean() < 1.5


def test_hue_rotations_add_up():
    images = noise(1, low=0.4, high=0.6)
    thirds = images
    for _ in range(3):
        thirds = change_colors(thirds, perturbation(hue=[1 / 3]))
    np.testing.assert_allclose(thirds, images, atol=1e-5)


def test_gray_image_has_three_equal_channels():
    images = noise(2)
    values = {"saturation": [1.5, 1.5], "hue": [0.2, 0.2]}
    gray, colored = change_colors(images, perturbation(2, gray=[1, 0], **values))
    np.testing.assert_allclose(gray, gray[:1].expand(3, -1, -1), atol=1e-6)
    before = change_colors(images, perturbation(2, **values))
    np.testing.assert_allclose(gray[0], 0.299 * before[0, 0] + 0.587 * before[0, 1] + 0.114 * before[0, 2], atol=1e-6)
    assert (colored - colored[:1]).abs().max() > 0.1


def literal_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a channel (H, W) in double precision, with repeated borders."""
    height, width = image.shape
    reach = range(-6, 7)
    kernel = np.array([[np.exp(-(i**2 + j**2) / (2 * sigma**2)) for j in reach] for i in reach])
    kernel /= kernel.sum()
    blurred = np.zeros((height, width))
    for i in reach:
        for j in reach:
            rows = np.clip(np.arange(height) + i, 0, height - 1)
            columns = np.clip(np.arange(width) + j, 0, width - 1)
            blurred += kernel[i + 6, j + 6] * image[np.ix_(rows, columns)]
    return blurred


@pytest.mark.parametrize("size", [(17, 23), (4, 5), (1, 1)])
def test_blur_is_gaussian_with_border_and_sigma_per_image(size):
    images, sigmas = noise(5, *size), [0.1, 0.7, 1.3, 2.0, 0.4]
    blurred = blur(images, torch.tensor(sigmas)).numpy()
    for ours, image, sigma in zip(blurred, images.numpy(), sigmas, strict=True):
        for channel, plane in zip(ours, image, strict=True):
            np.testing.assert_allclose(channel, literal_blur(plane, sigma), atol=1e-6)
        theirs = cv2.GaussianBlur(image.transpose(1, 2, 0), (13, 13), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(ours.transpose(1, 2, 0), theirs.reshape(*size, 3), atol=1e-5)


def test_zero_blur_is_exact_identity():
    images = noise(2, 16, 16)
    blurred = blur(images, torch.tensor([0.0, 1.0]))
    assert torch.equal(blurred[0], images[0])
    assert not torch.equal(blurred[1], images[1])


def drawn(count: int, size: tuple[int, int] = (56, 70), settings_: AugmentationSettings = DEFAULT) -> Perturbation:
    generator = np.random.default_rng(5)
    return stack_perturbations([draw_perturbation(settings_, size, generator) for _ in range(count)])


def test_perturbations_of_images_are_independent():
    images, of_all = noise(6, 20, 30), drawn(6)
    together = blur(change_colors(images, of_all), of_all.blur)
    for index in range(6):
        alone = Perturbation(*(values[index : index + 1] for values in vars(of_all).values()))
        one = blur(change_colors(images[index : index + 1], alone), alone.blur)
        np.testing.assert_allclose(together[index], one[0], atol=1e-6)


def test_region_is_complement_of_box():
    cuts = [(0, 0, 0, 0), (2, 1, 5, 4), (0, 0, 6, 7), (3, 0, 4, 7), (5, 6, 6, 7)]
    region = own_region(torch.tensor(cuts), (6, 7))
    assert region.dtype == torch.bool
    for own, (top, left, bottom, right) in zip(region, cuts, strict=True):
        for row in range(6):
            for column in range(7):
                assert own[row, column] == (not (top <= row < bottom and left <= column < right))


@given(st.integers(1, 8))
def test_partners_are_mutual(pairs):
    values = torch.arange(2 * pairs * 3).view(2 * pairs, 3)
    mixed = partners(values)
    assert torch.equal(partners(mixed), values)
    assert (mixed != values).all()
    assert sorted(mixed[:, 0].tolist()) == values[:, 0].tolist()


def test_cutmix_box_contains_perturbed_image_of_partner():
    images, of_all = noise(6, 56, 70), drawn(6, settings_=AugmentationSettings(cut_share=1.0))
    changed, everywhere = perturb(images, replace(of_all, cut=torch.zeros_like(of_all.cut)))
    assert everywhere.all()
    mixed, region = perturb(images, of_all)
    for index, (top, left, bottom, right) in enumerate(of_all.cut.tolist()):
        expected, partner = changed[index].clone(), changed[index ^ 1]
        expected[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        assert torch.equal(mixed[index], expected)
        assert not torch.equal(mixed[index], changed[index])
        assert int((~region[index]).sum()) == (bottom - top) * (right - left) > 0


def test_perturbation_keeps_float32_under_autocast():
    images, of_all = noise(4, 30, 30), drawn(4)
    with torch.autocast("cpu", torch.bfloat16):
        cast, _ = perturb(images, of_all)
    plain, _ = perturb(images, of_all)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_draws_follow_shares_and_ranges_of_settings():
    many = drawn(4000)
    colored = many.brightness != 1
    shares = {
        "colors": (colored, 0.8),
        "gray": (many.gray == 1, 0.2),
        "blur": (many.blur > 0, 0.5),
        "cut": (many.cut[:, 2] > 0, 0.5),
    }
    for name, (happened, share) in shares.items():
        slack = 4 * (share * (1 - share) / 4000) ** 0.5
        assert abs(happened.float().mean() - share) < slack, name
        for other, (happens, expected) in shares.items():  # one says nothing of another
            assert other == name or abs(happens[happened].float().mean() - expected) < 0.06, (name, other)
    for name, middle, reach in (
        *(("brightness", 1, 0.5), ("contrast", 1, 0.5), ("saturation", 1, 0.5), ("hue", 0, 0.25)),
    ):
        values = getattr(many, name)
        assert (values[~colored] == middle).all()
        assert middle - reach <= values.min() < middle - 0.98 * reach
        assert middle + 0.98 * reach < values.max() <= middle + reach
    blurred = many.blur[many.blur > 0]
    assert 0.1 <= blurred.min() < 0.14
    assert 1.96 < blurred.max() <= 2.0


def test_shares_of_zero_and_one_draw_nothing_or_all():
    none = AugmentationSettings(color_share=0, gray_share=0, blur_share=0, cut_share=0)
    nothing = perturbation(20)
    for name, values in vars(drawn(20, settings_=none)).items():
        assert torch.equal(values, getattr(nothing, name)), name
    every = drawn(20, settings_=AugmentationSettings(color_share=1, gray_share=1, blur_share=1, cut_share=1))
    assert (every.brightness != 1).all()
    assert (every.gray == 1).all()
    assert (every.blur > 0).all()
    assert (every.cut[:, 2] > 0).all()


@settings(max_examples=150)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    area=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)).map(sorted),
    aspect=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted),
    seed=st.integers(0, 2**32),
)
def test_box_stays_in_image_with_area_and_aspect_in_range(size, area, aspect, seed):
    chosen = AugmentationSettings(cut_share=1.0, cut_area=tuple(area), cut_aspect=tuple(aspect))
    cut = draw_perturbation(chosen, size, np.random.default_rng(seed)).cut
    top, left, bottom, right = cut.tolist()
    assert 0 <= top < bottom <= size[0]
    assert 0 <= left < right <= size[1]
    height, width = bottom - top, right - left
    whole = size[0] * size[1]
    # Whatever the image's shape; sides are cut to whole pixels, and no box is thinner than one.
    assert area[0] * whole - (width + height + 1) <= width * height
    assert width * height <= max(area[1] * whole + width / 2 + 1e-6, width, height)
    tallest, widest = np.sqrt(area[1] * whole * aspect[1]), np.sqrt(area[1] * whole / aspect[0])
    if 2 * tallest <= size[0] and 2 * widest <= size[1] and min(height, width) >= 10:  # most fit; cutting is small then
        assert aspect[0] / 1.2 <= height / width <= aspect[1] * 1.2


def literal_box(side: int, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """The center, aspect and area of a box drawn as in UniMatch, on a square image."""
    area = generator.uniform(0.02, 0.4) * side**2
    while True:
        aspect = generator.uniform(0.3, 1 / 0.3)
        height, width = int(np.sqrt(area * aspect)), int(np.sqrt(area / aspect))
        top, left = generator.integers(0, side, 2)
        if top + height <= side and left + width <= side:
            return top + height / 2, left + width / 2, height / width, height * width


def test_box_distribution_matches_unimatch():
    """Kolmogorov and Smirnov's distance of 3000 and 3000 boxes; uniform logarithms of aspects would be at 0.24."""
    generator = np.random.default_rng(11)
    boxes = [draw_perturbation(AugmentationSettings(cut_share=1.0), (518, 518), generator).cut for _ in range(3000)]
    top, left, bottom, right = torch.stack(boxes).double().unbind(1)
    height, width = bottom - top, right - left
    ours = torch.stack([(top + bottom) / 2, (left + right) / 2, height / width, height * width]).numpy()
    theirs = np.array([literal_box(518, generator) for _ in range(3000)]).T
    for name, one, other in zip(("row", "column", "aspect", "area"), ours, theirs, strict=True):
        places = np.concatenate([one, other])
        shares = [np.searchsorted(np.sort(values), places, side="right") / 3000 for values in (one, other)]
        assert np.abs(shares[0] - shares[1]).max() < 0.05, name


@given(st.integers(0, 2**32))
def test_equal_generators_draw_equal_perturbations(seed):
    one, other = (vars(draw_perturbation(DEFAULT, (70, 70), np.random.default_rng(seed))) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in NAMES)
