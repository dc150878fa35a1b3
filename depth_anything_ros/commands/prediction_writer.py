"""The products of `predict` for one prediction: files, and a picture in the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.api.prediction import Prediction
from depth_anything_ros.api.prediction_files import write_picture
from depth_anything_ros.commands.depth_video import DepthVideos
from depth_anything_ros.commands.metric_output import CloudScale
from depth_anything_ros.images.frame_reader import FileImage
from depth_anything_ros.visualization.side_by_side import side_by_side
from depth_anything_ros.visualization.terminal import terminal_picture

PRODUCTS = ("npy", "png", "jpg", "ply", "mp4")
FREE_ROWS = 4
"""Rows of the terminal that a picture leaves for text."""


@dataclass(frozen=True)
class PredictionWriter:
    """Writes the requested products of each prediction.

    Attributes:
        folder: for the files.
        products: some of `PRODUCTS`.
        cloud: makes the cloud metric; None without one.
        videos: writes the product mp4; None without it.
        shows: whether to show each image and its depth in the terminal.
    """

    folder: Path
    products: Collection[str]
    cloud: CloudScale | None
    videos: DepthVideos | None
    shows: bool

    def write(self, frame: FileImage, prediction: Prediction) -> dict[str, Any]:
        """Write the products of a frame.

        Args:
            frame: gives the name of the files.
            prediction: Prediction of the frame.

        Returns:
            The names of the files, by product, and the number of points.

        Raises:
            OSError: a file cannot be written.
            ValueError: the frame has another size than its video.
        """
        entry: dict[str, Any] = {}
        for product in PRODUCTS:
            if product in self.products and product != "mp4":
                entry |= self._write_file(self.folder / f"{frame.stem}.{product}", product, prediction)
        if self.videos is not None and (name := self.videos.add(frame, prediction)) is not None:
            entry["mp4"] = name
        if self.shows:
            picture, (columns, rows) = side_by_side(prediction.image, prediction.colored()), shutil.get_terminal_size()
            print(terminal_picture(picture, columns, max(rows - FREE_ROWS, FREE_ROWS)))
        return entry

    def _write_file(self, path: Path, product: str, prediction: Prediction) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if product == "ply":
            assert self.cloud is not None  # `run` finds it before
            points = prediction.point_cloud(scale=self.cloud.scale, max_range=self.cloud.max_range)
            points.save(path)
            entry["points"] = len(points.positions)
        elif product == "jpg":
            write_picture(path, side_by_side(prediction.image, prediction.colored())[..., ::-1])
        else:
            prediction.save(path)
        return entry | {product: path.name}
