"""Our metrics and alignment against the formulas of the reference evaluators, written down literally.

MoGe: moge/test/metrics.py and utils/alignment.py. Marigold: src/util/metric.py and alignment.py, script/depth/eval.py.
ZoeDepth: zoedepth/utils/misc.py compute_errors, compute_metrics. MiDaS: utils.py compute_scale_and_shift.
"""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.alignment import align_to
from depth_anything_ros.evaluation.boundary import boundary_f1
from depth_anything_ros.evaluation.crops import eigen_crop, garg_crop
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import Alignment, SetRules
from depth_anything_ros.evaluation.scoring import limit_metric, score_models

CLOSE = {"rel": 1e-6, "abs": 1e-6}
CASES = range(5)


@pytest.fixture(params=CASES)
def case(request) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A prediction of inverse depth, the truth and its mask, (H, W); a tenth of the truth is unknown."""
    rng = np.random.default_rng(request.param)
    depth = rng.uniform(0.3, 90, (48, 64))
    disparity = (1 / depth + 0.02 * rng.standard_normal(depth.shape)) * 7 - 1.5
    return disparity, depth, rng.random(depth.shape) > 0.1


def moge_disparity(disparity, depth, mask):
    """align_affine_lstsq by the normal equations, then clamp_min(1 / max(truth)); rel_depth, delta1_depth."""
    x, y = disparity[mask], 1 / depth[mask]
    a = np.stack([x, np.ones_like(x)], axis=-1)
    scale, shift = np.linalg.solve(a.T @ a, a.T @ y)
    predicted = 1 / np.maximum(disparity * scale + shift, 1 / depth[mask].max())
    rel = (np.abs(predicted[mask] - depth[mask]) / (depth[mask] + 1e-6)).mean()
    delta1 = (np.maximum(depth[mask] / predicted[mask], predicted[mask] / depth[mask]) < 1.25).mean()
    return rel, delta1


def test_equals_moge_disparity(case):
    disparity, depth, mask = case
    aligned = align_to(disparity, "inverse_depth", depth, mask, SetRules())
    scores = score_depth(aligned[mask], depth[mask])
    assert (scores.abs_rel, scores.delta1) == pytest.approx(moge_disparity(disparity, depth, mask), rel=2e-6, abs=1e-6)


def moge_scale(predicted, depth):
    """align_depth_scale: the factor of the least sum of |a p - z| / z, tried at every candidate z / p."""
    candidates = depth / predicted
    costs = [(np.abs(a * predicted - depth) / depth).sum() for a in candidates]
    return candidates[int(np.argmin(costs))]


def test_equals_moge_scale_invariant_depth(case):
    _, depth, mask = case
    depth, mask = depth[:12, :16], mask[:12, :16]
    predicted = depth * np.exp(0.3 * np.random.default_rng(1).standard_normal(depth.shape)) / 3
    rules = SetRules(Alignment("depth", "scale", "robust"))
    aligned = align_to(predicted, "depth", depth, mask, rules)
    np.testing.assert_allclose(aligned, predicted * moge_scale(predicted[mask], depth[mask]), rtol=1e-6)


def marigold(disparity, depth, mask, low, high):
    """alignment least_square_disparity: float64 lstsq, clip at 1e-3, clip to the set's range, then 1e-6."""
    gt_disparity = np.zeros_like(depth)
    gt_disparity[mask] = 1 / depth[mask]
    a = np.concatenate([disparity[mask].reshape(-1, 1), np.ones((mask.sum(), 1))], axis=-1)
    scale, shift = np.linalg.lstsq(a, gt_disparity[mask].reshape(-1, 1), rcond=None)[0]
    predicted = 1 / np.clip(disparity * scale + shift, 1e-3, None)
    predicted = np.clip(np.clip(predicted, low, high), 1e-6, None)
    p, z = predicted[mask], depth[mask]
    log_difference = np.log(p) - np.log(z)
    return {
        "abs_rel": (np.abs(p - z) / z).mean(),
        "sq_rel": ((p - z) ** 2 / z).mean(),
        "rmse": np.sqrt(((p - z) ** 2).mean()),
        "rmse_log": np.sqrt((log_difference**2).mean()),
        "log10": np.abs(np.log10(p) - np.log10(z)).mean(),
        "delta1": (np.maximum(p / z, z / p) < 1.25).mean(),
        "delta2": (np.maximum(p / z, z / p) < 1.25**2).mean(),
        "delta3": (np.maximum(p / z, z / p) < 1.25**3).mean(),
        "silog": np.sqrt((log_difference**2).mean() - log_difference.mean() ** 2) * 100,
        "irmse": np.sqrt(((1 / p - 1 / z) ** 2).mean()) * 1000,  # i_rmse, there per meter
    }


def test_equals_marigold(case):
    disparity, depth, mask = case
    rules = SetRules(floor=1e-3, clip=True, min_depth=0.6, max_depth=350.0)
    aligned = align_to(disparity, "inverse_depth", depth, mask, rules)
    scores = vars(score_depth(aligned[mask], depth[mask]))
    expected = marigold(disparity, depth, mask, 0.6, 350.0)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, **CLOSE)


def test_marigold_fits_on_a_smaller_copy():
    """PyTorch's Upsample(mode="nearest") takes row floor(i / factor); the line of that copy is applied to all."""
    rng = np.random.default_rng(3)
    depth = rng.uniform(1, 20, (60, 100))
    disparity = 2 / depth + 0.05 * rng.standard_normal(depth.shape)
    mask = np.ones(depth.shape, bool)
    aligned = align_to(disparity, "inverse_depth", depth, mask, SetRules(Alignment(max_side=40), floor=1e-3))
    torch = pytest.importorskip("torch")
    down = torch.nn.Upsample(scale_factor=0.4, mode="nearest")
    small_depth, small = (down(torch.as_tensor(part)[None, None]).numpy()[0, 0] for part in (depth, disparity))
    a = np.stack([small.ravel(), np.ones(small.size)], axis=-1)
    scale, shift = np.linalg.lstsq(a, 1 / small_depth.ravel(), rcond=None)[0]
    np.testing.assert_allclose(aligned, 1 / np.clip(disparity * scale + shift, 1e-3, None), rtol=1e-6)


def zoedepth(gt, pred, low, high, crop):
    """compute_metrics and compute_errors."""
    pred = pred.copy()
    pred[pred < low] = low
    pred[pred > high] = high
    pred[np.isinf(pred)] = high
    pred[np.isnan(pred)] = low
    valid = np.logical_and(gt > low, gt < high)
    eval_mask = np.zeros(valid.shape)
    height, width = gt.shape
    if crop == "garg":
        eval_mask[
            int(0.40810811 * height) : int(0.99189189 * height), int(0.03594771 * width) : int(0.96405229 * width)
        ] = 1
    else:
        eval_mask[45:471, 41:601] = 1
    valid = np.logical_and(valid, eval_mask)
    gt, pred = gt[valid], pred[valid]
    thresh = np.maximum((gt / pred), (pred / gt))
    err = np.log(pred) - np.log(gt)
    return {
        "delta1": (thresh < 1.25).mean(),
        "delta2": (thresh < 1.25**2).mean(),
        "delta3": (thresh < 1.25**3).mean(),
        "abs_rel": np.mean(np.abs(gt - pred) / gt),
        "sq_rel": np.mean(((gt - pred) ** 2) / gt),
        "rmse": np.sqrt(((gt - pred) ** 2).mean()),
        "rmse_log": np.sqrt(((np.log(gt) - np.log(pred)) ** 2).mean()),
        "silog": np.sqrt(np.mean(err**2) - np.mean(err) ** 2) * 100,
        "log10": (np.abs(np.log10(gt) - np.log10(pred))).mean(),
    }


@pytest.mark.parametrize(("crop", "shape", "high"), [("eigen", (480, 640), 10.0), ("garg", (352, 1216), 80.0)])
def test_equals_zoedepth(crop, shape, high):
    rng = np.random.default_rng(4)
    depth = rng.uniform(0, 1.2 * high, shape)
    predicted = depth * np.exp(0.2 * rng.standard_normal(shape)) + 0.1
    rules = SetRules(Alignment("depth", "none"), clip=True, min_depth=1e-3, max_depth=high, crop=(crop,))
    inside = np.zeros(shape, bool)
    inside[(eigen_crop if crop == "eigen" else garg_crop)(*shape)] = True
    mask = inside & (depth > 1e-3) & (depth < high)
    scores = vars(score_depth(limit_metric(predicted, rules)[mask], depth[mask]))
    expected = zoedepth(depth, predicted, 1e-3, high, crop)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, **CLOSE)


def midas(prediction, target, mask):
    """compute_scale_and_shift for inverse depth: a 2x2 system by Cramer's rule."""
    a_00, a_01, a_11 = (mask * prediction * prediction).sum(), (mask * prediction).sum(), mask.sum()
    b_0, b_1 = (mask * prediction * target).sum(), (mask * target).sum()
    det = a_00 * a_11 - a_01 * a_01
    return (a_11 * b_0 - a_01 * b_1) / det, (-a_01 * b_0 + a_00 * b_1) / det


def test_equals_midas(case):
    disparity, depth, mask = case
    scale, shift = midas(disparity, 1 / depth, mask.astype(float))
    aligned = align_to(disparity, "inverse_depth", depth, mask, SetRules(floor=1 / 80))
    np.testing.assert_allclose(aligned, 1 / np.maximum(scale * disparity + shift, 1 / 80), rtol=1e-6)


def moge_boundary(pred, gt, mask, radius):
    """boundary_f1 with its swapped names of precision and recall."""
    grid = np.linspace(-radius, radius, 2 * radius + 1)
    neighbor = grid[:, None] ** 2 + grid[None] ** 2 <= radius**2 + 1e-5
    size = (2 * radius + 1,) * 2
    window = np.lib.stride_tricks.sliding_window_view
    inner = slice(radius, -radius), slice(radius, -radius), None, None
    pred_rel = window(pred, size) / pred[inner[0], inner[1], None, None]
    gt_rel = window(gt, size) / gt[inner[0], inner[1], None, None]
    valid = mask[inner[0], inner[1], None, None] & (neighbor & window(mask, size))
    f1s = []
    thresholds = np.linspace(0.05, 0.25, 10)
    for t in thresholds:
        pred_label, gt_label = pred_rel > 1 + t, gt_rel > 1 + t
        tp = (pred_label & gt_label & valid).sum()
        precision = tp / max((gt_label & valid).sum(), 1e-12)
        recall = tp / max((pred_label & valid).sum(), 1e-12)
        f1s.append(2 * precision * recall / max(precision + recall, 1e-12))
    return sum(w * f1 for w, f1 in zip(thresholds, f1s, strict=True)) / sum(thresholds)


def test_edges_are_those_of_depth_with_the_floor_of_moge():
    """compute_metrics: errors with clamp_min(1 / max(truth)), edges of disparity models with clamp_min(1e-6)."""
    rng = np.random.default_rng(5)
    depth = np.cumsum(rng.uniform(0, 3, (48, 64)), axis=1) + 1
    disparity, mask = 5 / depth + 0.2 * rng.standard_normal(depth.shape), rng.random(depth.shape) > 0.1
    frame = LabeledImage("made", np.zeros((48, 64, 3), np.uint8), np.where(mask, depth, np.nan).astype(np.float32))
    model = ScoredModel("net", lambda image: disparity, "inverse_depth")
    (row,) = score_models([model], [frame], SetRules(boundary=True))
    true, known = frame.depth.astype(np.float64), mask
    a = np.stack([disparity[known], np.ones(known.sum())], axis=-1)
    scale, shift = np.linalg.lstsq(a, 1 / true[known], rcond=None)[0]
    edges = 1 / np.maximum(scale * disparity + shift, 1e-6)
    floored = np.minimum(edges, true[known].max())
    expected = moge_boundary(edges, true, known, 1)
    assert row.scores.boundary_f1 == pytest.approx(expected, rel=1e-6)
    assert abs(moge_boundary(floored, true, known, 1) - expected) > 1e-3
    assert row.scores.abs_rel == pytest.approx(np.mean(np.abs(floored - true)[known] / true[known]), rel=1e-6)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_boundary_f1_equals_moge(case, radius):
    _, depth, mask = case
    smooth = np.cumsum(depth, axis=1) / 50 + 1
    predicted = smooth * np.exp(0.05 * np.random.default_rng(2).standard_normal(depth.shape))
    expected = moge_boundary(predicted, smooth, mask, radius)
    assert 0 < expected < 1
    assert boundary_f1(predicted, smooth, mask, radius) == pytest.approx(expected, **CLOSE)
    assert boundary_f1(3 * smooth, smooth, mask, radius) == pytest.approx(1)
    assert boundary_f1(np.ones_like(smooth), smooth, mask, radius) == 0
