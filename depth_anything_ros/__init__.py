"""Any camera as a depth sensor on ROS 2: Depth Anything on the robot, and the engine that trains it.

>>> from depth_anything_ros import Estimator
>>> prediction = Estimator("tiny")("photo.jpg")   # doctest: +SKIP
"""

from __future__ import annotations

import importlib

from depth_anything_ros.system.telemetry import opt_out

TYPE_CHECKING = False  # type checkers take it for True; importing it from typing would double the import time
if TYPE_CHECKING:
    from typing import Any

    from depth_anything_ros.api.estimator import Estimator
    from depth_anything_ros.api.evaluate import evaluate
    from depth_anything_ros.api.point_cloud import PointCloud
    from depth_anything_ros.api.prediction import Prediction
    from depth_anything_ros.api.scales import NominalScaleWarning
    from depth_anything_ros.api.train import TrainingResult, train
    from depth_anything_ros.evaluation.run import Evaluation
    from depth_anything_ros.geometry.camera import Camera
    from depth_anything_ros.postprocessing.meters import Scale
    from depth_anything_ros.runtime.errors import ModelError

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Estimator",
    "Evaluation",
    "ModelError",
    "NominalScaleWarning",
    "PointCloud",
    "Prediction",
    "Scale",
    "TrainingResult",
    "evaluate",
    "train",
]

_MODULES = {
    "Camera": "geometry.camera",
    "Estimator": "api.estimator",
    "Evaluation": "evaluation.run",
    "ModelError": "runtime.errors",
    "NominalScaleWarning": "api.scales",
    "PointCloud": "api.point_cloud",
    "Prediction": "api.prediction",
    "Scale": "postprocessing.meters",
    "TrainingResult": "api.train",
    "evaluate": "api.evaluate",
    "train": "api.train",
}
"""The module of each public name. It is imported at first use, so that commands start quickly."""

opt_out()


def __getattr__(name: str) -> Any:
    """Import and return a public name. Raises `AttributeError` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
