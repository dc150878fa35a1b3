"""Segmentation networks that `evaluate` scores."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.system.extras import require


class SegmentationModel:
    """A network of stage ``segment``, as `train` saves it.

    It predicts at the image size of its training, in the image's aspect ratio, with PyTorch, on the first GPU if there
    is one.

    Args:
        path: the .safetensors file.

    Raises:
        CheckpointError: the file is damaged or is no segmentation network.
        FileNotFoundError: there is no such file.
        ImportError: PyTorch is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require("torch", "safetensors")
        import torch

        from depth_anything_ros.model.segmentation import load_segmentation
        from depth_anything_ros.training.validation.predictions import predictor

        network, self.record = load_segmentation(Path(path))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._predict = predictor(network.to(device), device, self.record.input_size)
        self.provenance = f"{self.record.name} ({self.record.output}), {Path(path).name}, on torch:{device.type}"

    def estimate(self, image: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, uint8 (H, W).

        Args:
            image: RGB uint8 (H, W, 3).
        """
        return self._predict(image)


def open_segmentation(models: Iterable[Any]) -> dict[str, Any]:
    """Open networks, by the name of their record, or by path if several have one name.

    Args:
        models: .safetensors files.

    Returns:
        `SegmentationModel` by name.

    Raises:
        ValueError: a file is no segmentation network, or a model is no file.
    """
    models = list(models)
    if not all(isinstance(model, (str, os.PathLike)) for model in models):
        raise ValueError("protocol segmentation scores files of stage segment of `train`, not estimators of depth")
    opened = {os.fspath(model): SegmentationModel(model) for model in models}
    names = [model.record.name for model in opened.values()]
    return {
        model.record.name if names.count(model.record.name) == 1 else given: model for given, model in opened.items()
    }
