"""Whether weights of no known record were trained to meters: nothing in them tells, what lies around them may.

Taken for relative, a metric network's near and far are swapped, and nothing else is amiss.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.zoo.hugging_face import MODEL_TYPE, is_length, read_configuration, version_of

_METRIC_NAME = re.compile(r"(?<![a-z])metric(?!s)|hypersim|vkitti", re.IGNORECASE)
"""In the official names of metric checkpoints, and of the folders that their training code writes to; not "metrics"."""


@dataclass(frozen=True)
class MetricSigns:
    """What there is to be seen.

    ``max_depth``: meters that it is said to be trained to; ``suspicion``: why it may be metric though no one says to
    how many meters; ``version``: "v1" or "v2", where that is said.
    """

    max_depth: float | None = None
    suspicion: str | None = None
    version: str | None = None


def metric_signs(path: Path, stored: Any, encoder: str) -> MetricSigns:
    """Looks at a checkpoint's name, its folder's, what it holds beside weights, and a `config.json` of transformers.

    ``stored``: the file's content; ``encoder``: a key of `ENCODERS`. Raises `RecordError` where config.json is
    damaged.
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
        suspicion = f"config.json beside it says depth_estimation_type {kind!r}, max_depth {max_depth!r}"
    elif isinstance(stored, dict) and "previous_best" in stored:
        suspicion = "it holds the scores that the metric training of Depth Anything V2 keeps"
    elif named := [name for name in (path.name, path.absolute().parent.name) if _METRIC_NAME.search(name)]:
        suspicion = f"{named[0]!r} is what metric weights are called"
    else:
        suspicion = None
    return MetricSigns(suspicion=suspicion, version=version)
