"""The losses against slow, literal references, finite differences, and masks that are almost or fully empty."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_anything_ros.training.objectives.losses import (  # noqa: E402
    affine_invariant_loss,
    cut_and_mixed_loss,
    feature_alignment_loss,
    gradient_matching_loss,
    log_ratio_loss,
    normalize,
    scale_invariant_log_loss,
    scale_invariant_loss,
)


def literal_normalize(values: np.ndarray) -> np.ndarray:
    """Depth Anything eq. 2 and 3 over a list of valid values; the median of an even count is the lower one."""
    shift = np.sort(values)[(len(values) - 1) // 2]
    return (values - shift) / np.mean(np.abs(values - shift))


def literal_affine_loss(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> list[float]:
    return [
        np.mean(np.abs(literal_normalize(p[m]) - literal_normalize(t[m]))) if m.any() else 0.0
        for p, t, m in zip(prediction, target, mask, strict=True)
    ]


def literal_gradient_loss(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> list[float]:
    """MiDaS eq. 11, where M is the number of valid pixels of each scale."""
    total = [0.0] * len(prediction)
    for scale in range(4):
        for axis in ("x", "y"):
            for image, (p, t, m) in enumerate(zip(prediction, target, mask, strict=True)):
                residual = np.zeros_like(p)
                if m.any():
                    residual[m] = literal_normalize(p[m]) - literal_normalize(t[m])
                r, k = residual[:: 2**scale, :: 2**scale], m[:: 2**scale, :: 2**scale]
                differences = 0.0
                for row in range(r.shape[0]):
                    for column in range(r.shape[1]):
                        after = (row, column + 1) if axis == "x" else (row + 1, column)
                        if after[0] < r.shape[0] and after[1] < r.shape[1] and k[row, column] and k[after]:
                            differences += abs(r[after] - r[row, column])
                total[image] += differences / max(1, k.sum())
    return total


def literal_scale_loss(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> list[float]:
    return [
        np.mean(np.abs(p[m] / np.mean(p[m]) - t[m] / np.mean(t[m]))) if m.any() else 0.0
        for p, t, m in zip(prediction, target, mask, strict=True)
    ]


def literal_log_loss(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> list[float]:
    losses = []
    for p, t, m in zip(prediction, target, mask, strict=True):
        ratio = np.log(p[m] / p[m].mean() + 0.01) - np.log(t[m] / t[m].mean() + 0.01) if m.any() else np.zeros(1)
        losses.append(np.mean(np.abs(ratio - ratio.mean())))
    return losses


def test_log_ratio_loss_counts_far_pixels_like_near_ones():
    """Twice the depth costs about the same everywhere; the affine-invariant loss hardly sees it far away."""
    target = torch.linspace(0.05, 1.0, 64).reshape(1, 8, 8)
    mask = torch.ones_like(target, dtype=torch.bool)
    near, far = (torch.where(part, target / 2, target) for part in (target > 0.9, target < 0.15))
    for loss, most in ((log_ratio_loss, 2.0), (affine_invariant_loss, 9.0)):
        costs = [loss(wrong, target, mask).item() for wrong in (near, far)]
        assert (max(costs) / min(costs) < most) == (loss is log_ratio_loss)
    sky = torch.zeros_like(target)
    assert torch.isfinite(log_ratio_loss(sky, target, mask)).all()
    assert log_ratio_loss(3.0 * target, target, mask).max() < 1e-6


def test_scale_invariant_loss_penalizes_shift():
    _, target, mask = (torch.from_numpy(maps) for maps in random_maps(5))
    assert scale_invariant_loss(3.0 * target, target, mask).max() < 1e-6
    assert scale_invariant_loss(target + 0.5, target, mask).min() > 0.1


def random_maps(seed: int, valid: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prediction, target = generator.random((2, 3, 17, 19))
    mask = generator.random((3, 17, 19)) < valid
    mask[:, 0, :2] = True
    if valid < 0.1:
        mask[1] = False
    return prediction, target, mask


@pytest.mark.parametrize("valid", [0.02, 0.7, 1.0])
@pytest.mark.parametrize(
    ("loss", "literal"),
    [
        (affine_invariant_loss, literal_affine_loss),
        (gradient_matching_loss, literal_gradient_loss),
        (scale_invariant_loss, literal_scale_loss),
        (log_ratio_loss, literal_log_loss),
    ],
)
def test_losses_match_literal_reference(loss, literal, valid):
    prediction, target, mask = random_maps(seed=3, valid=valid)
    ours = loss(*(torch.from_numpy(values) for values in (prediction, target, mask)))
    assert ours.tolist() == pytest.approx(literal(prediction, target, mask), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100.0), shift=st.floats(-50.0, 50.0), seed=st.integers(0, 1000))
def test_affine_losses_ignore_scale_and_shift(scale, shift, seed):
    _, target, mask = (torch.from_numpy(values) for values in random_maps(seed))
    prediction = target * scale + shift
    assert affine_invariant_loss(prediction, target, mask).max() < 1e-3
    assert gradient_matching_loss(prediction, target, mask).max() < 1e-2


def test_inverted_prediction_has_larger_loss():
    _, target, mask = (torch.from_numpy(values) for values in random_maps(5))
    wrong = affine_invariant_loss(-target, target, mask)
    assert (wrong > affine_invariant_loss(target + 0.1, target, mask) + 0.5).all()


@pytest.mark.parametrize("loss", [affine_invariant_loss, gradient_matching_loss, scale_invariant_loss, log_ratio_loss])
def test_gradients_match_finite_differences(loss):
    prediction, target, mask = (torch.from_numpy(values) for values in random_maps(7))
    prediction.requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(prediction, target, mask).sum(), prediction)
    generator = np.random.default_rng(1)
    step = 1e-7
    for _ in range(20):
        place = tuple(int(generator.integers(side)) for side in prediction.shape)
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                moved = prediction.clone()
                moved[place] += sign * step
                values.append(loss(moved, target, mask).sum().item())
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)


def test_invalid_pixels_change_neither_loss_nor_gradient():
    prediction, target, mask = (torch.from_numpy(values) for values in random_maps(9))
    before = affine_invariant_loss(prediction, target, mask)
    wild = torch.where(mask, prediction, torch.full_like(prediction, 1e6)).requires_grad_(True)
    after = affine_invariant_loss(wild, target, mask)
    assert after.tolist() == pytest.approx(before.tolist(), rel=1e-5)
    (gradient,) = torch.autograd.grad(after.sum(), wild)
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("loss", [affine_invariant_loss, gradient_matching_loss, scale_invariant_loss, log_ratio_loss])
def test_empty_masks_and_flat_maps_give_zero_loss(loss):
    prediction = torch.ones(2, 8, 8, requires_grad=True)
    for mask in (torch.zeros(2, 8, 8, dtype=torch.bool), torch.ones(2, 8, 8, dtype=torch.bool)):
        value = loss(prediction, torch.ones(2, 8, 8), mask)
        assert value.tolist() == [0.0, 0.0]
        (gradient,) = torch.autograd.grad(value.sum(), prediction)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [affine_invariant_loss, gradient_matching_loss, scale_invariant_loss, log_ratio_loss])
def test_loss_of_image_is_independent_of_others(loss):
    prediction, target, mask = (torch.from_numpy(values) for values in random_maps(11))
    mask[0] = False
    whole = loss(prediction, target, mask)
    apart = [loss(prediction[i : i + 1], target[i : i + 1], mask[i : i + 1]).item() for i in range(3)]
    assert apart[0] == 0.0
    assert whole.tolist() == pytest.approx(apart, rel=1e-6)


def released_gradient_loss(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The result of MiDaS' released code for a batch of one image of normalized maps."""
    total = torch.tensor(0.0, dtype=torch.float64)
    for step in (1, 2, 4, 8):
        known = mask[0, ::step, ::step].double()
        residual = known * (prediction - target)[0, ::step, ::step]
        across = (residual[:, 1:] - residual[:, :-1]).abs() * known[:, 1:] * known[:, :-1]
        down = (residual[1:] - residual[:-1]).abs() * known[1:] * known[:-1]
        total += (across.sum() + down.sum()) / known.sum().clamp(min=1)
    return total


@pytest.mark.parametrize("valid", [0.2, 0.5, 1.0])
def test_gradient_matching_matches_released_code_on_sparse_masks(valid):
    prediction, target, mask = (torch.from_numpy(maps) for maps in random_maps(61, valid=valid))
    expected = [
        released_gradient_loss(normalize(p[None], m[None]), normalize(t[None], m[None]), m[None]).item()
        for p, t, m in zip(prediction, target, mask, strict=True)
    ]
    assert gradient_matching_loss(prediction, target, mask).tolist() == pytest.approx(expected, rel=1e-6)


def test_normalized_maps_have_median_zero_and_spread_one():
    prediction, _, mask = (torch.from_numpy(values) for values in random_maps(13))
    normalized = normalize(prediction, mask)
    for values, known in zip(normalized, mask, strict=True):
        assert values[known].median().item() == pytest.approx(0.0, abs=1e-6)
        assert values[known].abs().mean().item() == pytest.approx(1.0, abs=1e-5)


def test_feature_alignment_ignores_tokens_within_tolerance():
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    features = torch.tensor([[[1.0, 0.1], [0.0, 1.0]]], requires_grad=True)
    loss = feature_alignment_loss(features, target, tolerance=0.85)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.item() == pytest.approx(0.5)  # of two tokens one adds 1, the other nothing
    assert (gradient[0, 0] == 0).all()
    assert gradient[0, 1].abs().sum() > 0


def literal_trimmed_loss(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, share: float) -> list[float]:
    """MiDaS eq. 7 without the factor 1/2: the sum of the remaining residuals, divided by all valid pixels."""
    per_image = []
    for p, t, m in zip(prediction, target, mask, strict=True):
        differences = sorted(np.abs(literal_normalize(p[m]) - literal_normalize(t[m]))) if m.any() else [0.0]
        left = differences[: len(differences) - int(share * len(differences))]
        per_image.append(np.sum(left) / len(differences))
    return per_image


@pytest.mark.parametrize("share", [0.1, 0.2, 0.9])
@pytest.mark.parametrize("valid", [0.02, 0.7])
def test_trimmed_loss_excludes_largest_residuals_per_image(share, valid):
    maps = random_maps(seed=17, valid=valid)
    ours = affine_invariant_loss(*map(torch.from_numpy, maps), trimmed=share)
    assert ours.tolist() == pytest.approx(literal_trimmed_loss(*maps, share), rel=1e-5)


def literal_mixed_loss(prediction, targets, region, masks) -> list[float]:
    per_image = []
    for index, p in enumerate(prediction):
        total = 0.0
        for target, mask, part in zip(targets, masks, (region, ~region), strict=True):
            known = mask[index] & part[index]
            if known.any():
                difference = np.abs(literal_normalize(p[known]) - literal_normalize(target[index][known]))
                total += part[index].mean() * difference.mean()
        per_image.append(total)
    return per_image


def boxes(shape: tuple[int, ...]) -> np.ndarray:
    """A region for each image: a box, everything, and half of it."""
    region = np.ones(shape, bool)
    region[0, 4:9, 3:15] = False
    region[2, :, 8:] = False
    return region


def test_cutmix_loss_normalizes_each_part_and_weighs_by_area():
    prediction, first, mask = random_maps(seed=23)
    second, _, other = random_maps(seed=29)
    region = boxes(mask.shape)
    arguments = prediction, (first, second), region, (mask, other)
    tensors = [torch.from_numpy(prediction), tuple(map(torch.from_numpy, (first, second)))]
    tensors += [torch.from_numpy(region), tuple(map(torch.from_numpy, (mask, other)))]
    ours = cut_and_mixed_loss(affine_invariant_loss, *tensors)
    assert ours.tolist() == pytest.approx(literal_mixed_loss(*arguments), rel=1e-5)


def test_cutmix_loss_of_correct_parts_is_zero():
    first, second, mask = (torch.from_numpy(maps) for maps in random_maps(31, valid=1.0))
    region = torch.from_numpy(boxes(tuple(mask.shape)))
    prediction = torch.where(region, 3.0 * first + 2.0, 0.5 * second - 1.0)
    assert cut_and_mixed_loss(affine_invariant_loss, prediction, (first, second), region, (mask, mask)).max() < 1e-5
    assert affine_invariant_loss(prediction, torch.where(region, first, second), mask).max() > 0.1


def test_unmixed_images_have_plain_loss():
    prediction, target, mask = (torch.from_numpy(maps) for maps in random_maps(37))
    everywhere = torch.ones_like(mask)
    mixed = cut_and_mixed_loss(affine_invariant_loss, prediction, (target, target.flip(0)), everywhere, (mask, mask))
    assert mixed.tolist() == pytest.approx(affine_invariant_loss(prediction, target, mask).tolist(), rel=1e-6)


def meters(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    prediction, target, mask = (torch.from_numpy(maps) for maps in random_maps(seed))
    return prediction * 9 + 0.5, target * 9 + 0.5, mask


@pytest.mark.parametrize("variance", [0.0, 0.5, 0.85, 1.0])
def test_silog_matches_literal_definition(variance):
    prediction, target, mask = meters(41)
    expected = []
    for p, t, m in zip(prediction.numpy(), target.numpy(), mask.numpy(), strict=True):
        g = np.log(p[m]) - np.log(t[m])
        expected.append(np.sqrt(np.mean(g**2) - variance * np.mean(g) ** 2))
    assert scale_invariant_log_loss(prediction, target, mask, variance).tolist() == pytest.approx(expected, rel=1e-5)


def test_silog_with_full_variance_ignores_scale():
    _, target, mask = meters(43)
    assert scale_invariant_log_loss(2.5 * target, target, mask, variance=1.0).max() < 1e-5
    assert scale_invariant_log_loss(2.5 * target, target, mask).tolist() == pytest.approx(
        [np.log(2.5) * np.sqrt(0.5)] * 3, rel=1e-5
    )


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-30])
def test_silog_of_underflow_or_empty_mask_is_zero(value):
    _, target, mask = meters(47)
    prediction = torch.full_like(target, value).requires_grad_(True)
    for known in (mask, torch.zeros_like(mask)):
        loss = scale_invariant_log_loss(prediction, target, known)
        (gradient,) = torch.autograd.grad(loss.sum(), prediction)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()
    assert loss.tolist() == [0.0] * 3


@pytest.mark.parametrize("case", ["trimmed", "mixed", "silog"])
def test_trimmed_mixed_silog_gradients_match_finite_differences(case):
    prediction, target, mask = meters(53)
    region = torch.from_numpy(boxes(tuple(mask.shape)))
    losses = {
        "trimmed": lambda p: affine_invariant_loss(p, target, mask, trimmed=0.2),
        "mixed": lambda p: cut_and_mixed_loss(
            affine_invariant_loss, p, (target, target.flip(0)), region, (mask, mask.flip(0))
        ),
        "silog": lambda p: scale_invariant_log_loss(p, target, mask),
    }
    loss = losses[case]
    prediction.requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(prediction).sum(), prediction)
    generator, step = np.random.default_rng(3), 1e-7
    for _ in range(20):
        place = tuple(int(generator.integers(side)) for side in prediction.shape)
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                moved = prediction.clone()
                moved[place] += sign * step
                values.append(loss(moved).sum().item())
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("case", ["trimmed", "mixed", "silog", "gradient"])
def test_half_precision_losses_are_computed_in_float32(case):
    prediction, target, mask = (values.float() if values.dtype != torch.bool else values for values in meters(59))
    region = torch.ones_like(mask)
    losses = {
        "trimmed": lambda p, t: affine_invariant_loss(p, t, mask, trimmed=0.2),
        "mixed": lambda p, t: cut_and_mixed_loss(affine_invariant_loss, p, (t, t), region, (mask, mask)),
        "silog": lambda p, t: scale_invariant_log_loss(p, t, mask),
        "gradient": lambda p, t: gradient_matching_loss(p, t, mask),
    }
    loss = losses[case](prediction.bfloat16(), target)
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx(losses[case](prediction.bfloat16().float(), target).tolist(), rel=1e-6)
