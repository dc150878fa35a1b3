"""The picture of docs/metric.md: a frame, its references, and depth as it becomes metric.

The frame is of the TUM RGB-D dataset (Sturm et al. 2012, CC BY 4.0), in ../shared/data/tum. The 150 references come
from a lidar with 8 rings, with 1 % noise, and a tenth behind edges.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scale_frames import DATA, away_from, measure, pattern, scored
from scale_methods import INVERSE, no_network

from depth_anything_ros import Estimator
from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.shape import LocalField
from depth_anything_ros.scale.tracker import ScaleState
from depth_anything_ros.scale.uncertainty import depth_sigma
from depth_anything_ros.visualization.captions import footed, legend
from depth_anything_ros.visualization.colormap import colorize, ramp
from depth_anything_ros.visualization.grid import titled_row

NEAREST, FARTHEST, WORST = 1.2, 4.0, 0.3
"""Meters, meters and relative sigma: the ends of the colors."""
PANEL = (320, 240)
QUALITY = 85


def write_picture(path: Path, model: str) -> None:
    """Write the picture as JPEG.

    Args:
        path: Path of the file.
        model: Model of the zoo.
    """
    image = cv2.imread(str(DATA / "tum" / "TUM_color.png"))[..., ::-1].copy()
    raw = cv2.imread(str(DATA / "tum" / "TUM_depth.png"), cv2.IMREAD_UNCHANGED).astype(np.float32) / 5000
    truth = np.where(raw > 0, raw, np.nan)
    rng = np.random.default_rng(0)
    pixels = pattern("rings 8", scored(truth), rng)
    known, mask = measure(truth, pixels, rng), away_from(pixels, scored(truth))
    output = np.asarray(Estimator(model).estimate(image), np.float32)
    fitted, shaped, sigma = _metric(output, known)

    def panel(title: str, depth: np.ndarray) -> tuple[str, np.ndarray]:
        error = float(np.mean(np.abs(depth[mask] - truth[mask]) / truth[mask]))
        return f"{title}: AbsRel {error:.3f}", colorize(1 / depth, 1 / FARTHEST, 1 / NEAREST)

    relative = np.clip(sigma / shaped / WORST, 0, 1)
    panels = [
        ("image and references", _with_references(image, known)),
        panel("no network", no_network(output, known)),
        ("true depth", colorize(1 / truth, 1 / FARTHEST, 1 / NEAREST)),
        panel("robust fit", fitted),
        panel("robust fit + local", shaped),
        ("sigma of the latter", colorize(relative, 0.0, 1.0)),
    ]
    small = [(title, cv2.resize(picture, PANEL, interpolation=cv2.INTER_AREA)) for title, picture in panels]
    rows = [titled_row(*zip(*small[start : start + 3], strict=True)) for start in (0, 3)]
    legends = [
        legend(ramp(), f"depth: {FARTHEST:g} m", f"{NEAREST:g} m"),
        legend(ramp(), "sigma: 0 %", f"{100 * WORST:.0f} %"),
    ]
    source = "Frame of the TUM RGB-D dataset, Sturm et al. 2012, CC BY 4.0. 150 references on 8 rings, a tenth wrong."
    picture = footed(np.vstack(rows), source, legends)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def _metric(output: np.ndarray, known: References) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return depth by the fit, depth with the local correction, and its standard deviation."""
    found = fit(INVERSE, output, known, Prior())
    assert isinstance(found, ScaleFit)
    log_z = log_depth(INVERSE, output, found.log_a, found.b).astype(np.float32)
    at = log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b)
    field = LocalField(output.shape, known.pixels[found.plausible], at, found.residuals[found.plausible])
    correction = field.correction(np.ascontiguousarray(log_z[::4, ::4]))
    shaped = np.exp(log_z + cv2.resize(correction, output.shape[::-1]))
    state = ScaleState(found.log_a, found.b, found.covariance, found.common_sigma, found.typical, 0.0, 0.0, "")
    return np.exp(log_z), shaped, depth_sigma(shaped, INVERSE, state, found.spread, local=field.error())


def _with_references(image: np.ndarray, known: References) -> np.ndarray:
    """Return the image with a dot for each reference, in the color of its depth."""
    colors = colorize(1 / known.depth[np.newaxis], 1 / FARTHEST, 1 / NEAREST)[0]
    drawn = image.copy()
    for (u, v), color in zip(known.pixels.astype(int), colors, strict=True):
        cv2.circle(drawn, (int(u), int(v)), 5, color.tolist(), -1)
    return drawn
