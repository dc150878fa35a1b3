"""Look for signs that weights without a record are metric. The weights do not show it; file names and nearby files may.

If a metric network runs as relative, near and far are swapped, and nothing else looks wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.zoo.hugging_face import MODEL_TYPE, is_length, read_configuration, version_of

_METRIC_NAME = re.compile(r"(?<![a-z])metric(?!s)|hypersim|vkitti", re.IGNORECASE)
"""Part of the official names of metric checkpoints, and of the folders of their training code; not "metrics"."""


@dataclass(frozen=True)
class MetricSigns:
    """Signs of a model's kind.

    Attributes:
        max_depth: declared maximum depth in meters, or None.
        suspicion: the reason why the model may be metric although no maximum depth is declared, or None.
        version: the declared "v1" or "v2", or None.
    """

    max_depth: float | None = None
    suspicion: str | None = None
    version: str | None = None


def metric_signs(path: Path, stored: Any, encoder: str) -> MetricSigns:
    """Look at a checkpoint's name, its folder's name, its content except weights, and transformers' `config.json`.

    Args:
        path: of the checkpoint.
        stored: the file's content.
        encoder: size, a key of `ENCODERS`.

    Raises:
        RecordError: config.json is damaged.
    """
    configuration = read_configuration(path.parent)
    if configuration.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        configuration = {}
    version = version_of(configuration, encoder)
    kind, max_depth = configuration.get("depth_estimation_type"), configuration.get("max_depth")
    if kind == "metric" and is_length(max_depth):
        return MetricSigns(max_depth=float(max_depth), version=version)
    if kind == "relative":
        return MetricSigns(version=version)
    if kind == "metric" or max_depth is not None:
        suspicion = f"config.json in its folder has depth_estimation_type {kind!r}, max_depth {max_depth!r}"
    elif isinstance(stored, dict) and "previous_best" in stored:
        suspicion = "it has the scores that the metric training of Depth Anything V2 saves"
    elif named := [name for name in (path.name, path.absolute().parent.name) if _METRIC_NAME.search(name)]:
        suspicion = f"{named[0]!r} is a usual name of metric weights"
    else:
        suspicion = None
    return MetricSigns(suspicion=suspicion, version=version)
