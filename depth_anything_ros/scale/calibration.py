"""The scale of a recording by one source: the pair of each frame, one fixed pair for all, and the residuals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit import Refusal, ScaleFit, fit, fit_samples
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import ScaleKind, log_depth, log_depth_gradient
from depth_anything_ros.scale.references import References, references

MAX_DELAY = 0.1
"""Maximum seconds between a measurement and the image it is compared with."""
RANGES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 30.0, 50.0, 80.0, math.inf)
"""Meters: the borders of the bins of distance."""
MIN_COUNT = 10
"""Minimum number of references in a bin of distance."""
_POOLED = 200
"""Number of references of each frame in a fit of all frames, so that all frames weigh the same."""
_QUANTILES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Frame:
    """One image of the recording.

    Attributes:
        time: seconds.
        values: float32 (H, W), the network's output; meters for a metric model.
        camera: its intrinsics, at the size of ``values``.
        image: RGB uint8 (H, W, 3).
    """

    time: float
    values: np.ndarray
    camera: Camera
    image: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """One measurement of a source.

    Attributes:
        time: seconds.
        to_camera: from the sensor's frame to the camera's optical frame.
        convert: returns the references for a network's output. Raises `ValueError`.
    """

    time: float
    to_camera: Transform
    convert: Callable[[np.ndarray], References]


@dataclass(frozen=True)
class FrameFit:
    """A frame with a scale from a source.

    Attributes:
        frame: the frame.
        measurement: the measurement of the source.
        known: its references.
        result: the fit.
    """

    frame: Frame
    measurement: Measurement
    known: References
    result: ScaleFit

    @property
    def x(self) -> np.ndarray:
        """The network's output at the references that agree, float64 (N,)."""
        return self.result.outputs[self.result.inliers]

    @property
    def log_z(self) -> np.ndarray:
        """Ln of the depth of the references that agree, float64 (N,)."""
        return np.log(self.known.depth[self.result.inliers])


@dataclass(frozen=True)
class Pair:
    """One scale for all frames.

    Attributes:
        log_a: ln a.
        b: the shift.
        method: how it was found, in words.
        error: AbsRel on frames that were not used to find it; None with fewer than two frames.
        depth_spread: standard deviation over the frames of the difference in ln depth between their fits and this
            scale.
        log_a_spread: standard deviation over the frames of ln a.
    """

    log_a: float
    b: float
    method: str
    error: float | None
    depth_spread: float
    log_a_spread: float


@dataclass(frozen=True)
class RangeBin:
    """The residuals of the references within a range of distance; an error is relative and positive if too far.

    Attributes:
        nearest: meters.
        farthest: meters.
        median: error of the depth of the frames' own fits.
        low: 16th percentile of that error.
        high: 84th percentile.
        count: number of references.
        outliers: share of them that do not agree with the fit. A large share means wrong references, or a model that is
            wrong at this range.
    """

    nearest: float
    farthest: float
    median: float
    low: float
    high: float
    count: int
    outliers: float


def fit_frames(
    kind: ScaleKind, frames: Sequence[Frame], measurements: Sequence[Measurement]
) -> tuple[list[FrameFit], list[str]]:
    """Fit a scale to each frame with the measurement nearest in time.

    Args:
        kind: how the output becomes depth.
        frames: in the order of time.
        measurements: Measurements of one source.

    Returns:
        The fits, and for each frame without a fit the reason.
    """
    fits, refusals = [], []
    for frame in frames:
        nearest = min(measurements, key=lambda one: abs(one.time - frame.time), default=None)
        if nearest is None or abs(nearest.time - frame.time) > MAX_DELAY:
            away = "" if nearest is None else f"; the nearest is {abs(nearest.time - frame.time):.2f} s away"
            refusals.append(f"no message within {MAX_DELAY} s of the image{away}")
            continue
        try:
            known = nearest.convert(frame.values)
        except ValueError as error:
            refusals.append(str(error))
            continue
        result = fit(kind, frame.values, known, Prior()) if len(known) else Refusal("it sees no surface in the image")
        if isinstance(result, Refusal):
            refusals.append(result.reason)
        else:
            fits.append(FrameFit(frame, nearest, known, result))
    return fits, refusals


def error_of(kind: ScaleKind, one: FrameFit, log_a: float, b: float) -> float:
    """Return AbsRel of a scale on the references of a frame that agree with its own fit.

    An error counts as 1 at most, so that one point at infinity does not decide.

    Args:
        kind: how the output becomes depth.
        one: the frame.
        log_a: ln a of the scale.
        b: its shift.
    """
    ratio = np.exp(np.clip(log_depth(kind, one.x, log_a, b) - one.log_z, -5, 5))
    return float(np.mean(np.minimum(np.abs(ratio - 1), 1)))


def fixed_pair(kind: ScaleKind, fits: Sequence[FrameFit]) -> Pair:
    """Return the best single scale for all frames.

    The candidates are a fit to the references of all frames together, and the median of the frames' scales. Each is
    found on every second frame. The one with the smaller error on the other frames wins.

    Args:
        kind: how the output becomes depth.
        fits: Fits of the frames; at least one.
    """
    candidates = {"all frames together": _pooled, "median of the frames": _median}
    errors = {name: _leave_out_error(kind, fits, find) for name, find in candidates.items()}
    method = min(errors, key=lambda name: errors[name])
    found = candidates[method](kind, fits)
    if found is None:  # no fit of all frames together, and too few frames for a validation
        method, found = "median of the frames", _median(kind, fits)
    log_a, b = found
    offsets = [
        float(np.median(log_depth(kind, one.x, one.result.log_a, one.result.b) - log_depth(kind, one.x, log_a, b)))
        for one in fits
    ]
    error = errors[method]
    return Pair(
        log_a,
        b,
        method,
        error if math.isfinite(error) else None,
        float(np.std(offsets)),
        float(np.std([one.result.log_a for one in fits])),
    )


def residuals_by_range(fits: Sequence[FrameFit]) -> list[RangeBin]:
    """Return the errors of the frames' own fits by the distance of the references.

    Args:
        fits: Fits of the frames; at least one.
    """
    known = [np.isfinite(one.result.residuals) & ~one.known.is_bound for one in fits]
    depth = np.concatenate([one.known.depth[mask] for one, mask in zip(fits, known, strict=True)])
    agrees = np.concatenate([one.result.inliers[mask] for one, mask in zip(fits, known, strict=True)])
    residuals = np.concatenate([one.result.residuals[mask] for one, mask in zip(fits, known, strict=True)])
    error = np.expm1(np.clip(-residuals, -5, 5))
    bins = []
    for nearest, farthest in itertools.pairwise(RANGES):
        inside = (depth >= nearest) & (depth < farthest)
        count = int(inside.sum())
        if count >= MIN_COUNT:
            low, median, high = (float(value) for value in np.percentile(error[inside], (16, 50, 84)))
            outliers = 1 - float(agrees[inside].mean())
            bins.append(RangeBin(nearest, farthest, median, low, high, count, outliers))
    return bins


def depth_uncertainty(kind: ScaleKind, fits: Sequence[FrameFit]) -> float:
    """Return the relative standard deviation of a pixel's depth, the median over the frames and their pixels.

    It includes the covariance of the fit, the common error of the references, and their spread. So a source with one
    point is worse than a source that covers the image, although its residual is smaller.

    Args:
        kind: how the output becomes depth.
        fits: Fits of the frames; at least one.
    """
    sigmas = []
    for one in fits:
        values = one.frame.values[np.isfinite(one.frame.values)]
        gradient = log_depth_gradient(kind, np.quantile(values, _QUANTILES), one.result.log_a, one.result.b)
        variance = np.einsum("in,ij,jn->n", gradient, one.result.covariance, gradient)
        shift = one.known.shift_sigma * float(np.median(one.known.depth))
        shared = math.hypot(one.result.common_sigma, one.known.pose_sigma, shift)
        sigmas.append(math.sqrt(float(np.median(variance)) + shared**2 + one.result.spread**2))
    return float(np.median(sigmas))


_Find = Callable[[ScaleKind, Sequence[FrameFit]], "tuple[float, float] | None"]


def _leave_out_error(kind: ScaleKind, fits: Sequence[FrameFit], find: _Find) -> float:
    """Return the mean error of two-fold cross-validation over odd and even frames; infinite without a scale."""
    if len(fits) < 2:
        return math.inf
    errors = []
    for given, tested in ((fits[::2], fits[1::2]), (fits[1::2], fits[::2])):
        found = find(kind, given)
        if found is None:
            return math.inf
        errors += [error_of(kind, one, *found) for one in tested]
    return float(np.mean(errors))


def _median(kind: ScaleKind, fits: Sequence[FrameFit]) -> tuple[float, float]:
    return float(np.median([one.result.log_a for one in fits])), float(np.median([one.result.b for one in fits]))


def _pooled(kind: ScaleKind, fits: Sequence[FrameFit]) -> tuple[float, float] | None:
    pixels, depths, sigmas, outputs = [], [], [], []
    height, width = fits[0].frame.values.shape
    for number, one in enumerate(fits):
        inliers = np.flatnonzero(one.result.inliers)
        chosen = inliers[:: max(1, math.ceil(len(inliers) / _POOLED))]
        # Frames are stacked vertically, so that no two share a block.
        pixels.append(one.known.pixels[chosen] + (0, 2 * height * number))
        depths.append(one.known.depth[chosen])
        sigmas.append(one.known.sigma[chosen])
        outputs.append(one.result.outputs[chosen])
    if not sum(map(len, depths)):
        return None
    known = references(np.concatenate(pixels), np.concatenate(depths), np.concatenate(sigmas))
    result = fit_samples(kind, np.concatenate(outputs), width, known, Prior())
    return (result.log_a, result.b) if isinstance(result, ScaleFit) else None
