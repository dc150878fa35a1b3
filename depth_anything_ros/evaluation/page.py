"""The report as one HTML page that needs no network: sortable tables, plots, the worst and the best images."""

from __future__ import annotations

import base64
import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.panels import comparison
from depth_anything_ros.evaluation.predictions import ScoredModel

QUALITY = 80
"""Of the page's pictures, JPEG."""


@dataclass(order=True)
class _Kept:
    """A frame that may be shown, ordered by how much it belongs into the gallery."""

    rank: float
    number: int
    error: float = field(compare=False)
    name: str = field(compare=False)
    jpeg: bytes = field(compare=False)


class Gallery:
    """The images of each set that each model predicts worst and best.

    Args:
        each: number of images to keep of either.
    """

    def __init__(self, each: int = 2) -> None:
        self._each, self._count = each, 0
        self._kept: dict[tuple[str, str, str], list[_Kept]] = {}

    def add(self, set_name: str, frame: LabeledImage, model: ScoredModel, depth: np.ndarray, mask: np.ndarray) -> None:
        """Keep a prediction if it is one of the worst or best so far. Baselines are not kept.

        Args:
            set_name: the name of the set.
            frame: the frame with its true depth.
            model: the model that predicts.
            depth: aligned depth (H, W), meters.
            mask: bool (H, W), the pixels that are scored.
        """
        if model.is_baseline:
            return
        self._count += 1
        error = float(np.mean(np.abs(depth[mask] - frame.depth[mask]) / frame.depth[mask]))
        jpeg = b""
        for kind, rank in (("worst", error), ("best", -error)):
            kept = self._kept.setdefault((set_name, model.name, kind), [])
            if len(kept) == self._each and rank <= kept[0].rank:
                continue
            jpeg = jpeg or _jpeg(comparison(frame, [(model.name, depth)], mask))
            # Earlier frames win among equals, so that the page does not depend on chance.
            entry = _Kept(rank, -self._count, error, frame.name, jpeg)
            if len(kept) < self._each:
                heapq.heappush(kept, entry)
            else:
                heapq.heapreplace(kept, entry)

    def pictures(self) -> Iterator[dict[str, str]]:
        """Yield set, caption and JPEG (base64) of each picture. An image that is worst and best is shown once."""
        shown: set[tuple[str, str, str]] = set()
        for (set_name, model, kind), kept in self._kept.items():
            for entry in sorted(kept, reverse=True):
                if (set_name, model, entry.name) in shown:
                    continue
                shown.add((set_name, model, entry.name))
                caption = f"{model}, {kind}: {entry.name}, AbsRel {entry.error:.3f}"
                yield {"set": set_name, "caption": caption, "jpeg": base64.b64encode(entry.jpeg).decode()}


def html_page(report: dict[str, Any], gallery: Gallery) -> str:
    """Return the page.

    Args:
        report: the values of `report.json_report`.
        gallery: the pictures.
    """
    measures = [{**measure, "digits": 3} for measure in report["measures"] if measure["in_tables"]]
    data = {"report": report, "measures": measures, "pictures": list(gallery.pictures())}
    # A name with "</script>" or "<!--" must not end the data.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(data=text)


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
