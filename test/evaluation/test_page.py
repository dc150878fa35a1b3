"""The page of an evaluation: complete, independent of the network, and safe for any name."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.page import Gallery, html_page
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.report import json_report
from depth_anything_ros.evaluation.results import Row, SetResult

DEPTH = np.linspace(1, 4, 48 * 64).reshape(48, 64).astype(np.float32)
MASK = np.ones((48, 64), bool)


def frame(name: str) -> LabeledImage:
    return LabeledImage(name=name, image=np.full((48, 64, 3), 90, np.uint8), depth=DEPTH)


def model(name: str, is_baseline: bool = False) -> ScoredModel:
    return ScoredModel(name, lambda image: DEPTH, "depth", is_baseline=is_baseline)


def report(name: str = "net", left_out: tuple[str, ...] = ()) -> dict:
    row = Row(name, True, False)
    for number, factor in enumerate((1.1, 1.2)):
        row.add(f"frame {number}", score_depth(factor * DEPTH[MASK], DEPTH[MASK]), 0.01)
    return json_report(
        [SetResult("kitchen", "free", 2, 5, [row], left_out)],
        find_protocol("full"),
        {name: {"record": {}, "provenance": ""}},
    )


def plain(report: dict) -> dict:
    """The values after JSON, which knows no tuples."""
    return json.loads(json.dumps(report))


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_page_holds_every_score_and_loads_nothing() -> None:
    page = html_page(report(left_out=("kitchen/damaged: truncated",)), Gallery())
    assert data_of(page)["report"] == plain(report(left_out=("kitchen/damaged: truncated",)))
    assert [measure["key"] for measure in data_of(page)["measures"]] == list(Scores.in_tables())
    assert not re.search(r'(src|href)="(?!data:)|url\(|@import|https?://(?!www\.w3\.org/2000/svg)', page)


def test_names_cannot_end_the_data_or_become_markup() -> None:
    name = '</script><script>alert("$data")</script><!-- <b>'
    page = html_page(report(name), Gallery())
    assert page.count("</script>") == 2
    assert list(data_of(page)["report"]["models"]) == [name]


def test_gallery_keeps_the_worst_and_best_images_of_each_model() -> None:
    gallery = Gallery(each=2)
    factors = {"a": 1.1, "b": 1.5, "c": 1.02, "d": 1.3, "e": 1.3}
    for name, factor in factors.items():
        gallery.add("kitchen", frame(name), model("net"), factor * DEPTH, MASK)
        gallery.add("kitchen", frame(name), model("constant", is_baseline=True), DEPTH, MASK)
    captions = [picture["caption"] for picture in gallery.pictures()]
    assert captions == [
        "net, worst: b, AbsRel 0.500",
        "net, worst: d, AbsRel 0.300",
        "net, best: c, AbsRel 0.020",
        "net, best: a, AbsRel 0.100",
    ]
    picture = next(gallery.pictures())
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(picture["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[1] > 4 * 64
    assert picture["set"] == "kitchen"


def test_image_that_is_worst_and_best_is_shown_once() -> None:
    gallery = Gallery()
    gallery.add("kitchen", frame("only"), model("net"), 1.1 * DEPTH, MASK)
    assert len(list(gallery.pictures())) == 1


def robot_of(drift: float, has_obstacles: bool) -> dict[str, Any]:
    by_range = {"missed_rate_by_range": [None, 0.25], "false_rate_by_range": [None, None]}
    return {
        "frames": 2,
        "voxel": 0.05,
        "range_edges": [0.0, 1.0, None],
        "obstacles": {"missed_rate": 0.25, "false_rate": None, **by_range} if has_obstacles else None,
        "abs_rel_by_range": [None, 0.1],
        "scale_spread_percent": 2.0,
        "scale_drift_percent_per_minute": drift,
        "flicker_percent": None,
    }


def shown(page: str, folder: Path) -> str:
    """What a browser makes of the page."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium")
    file = folder / "page.html"
    file.write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *options, "--dump-dom", file.as_uri()]
    return (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        .stdout.partition("<main")[2]
        .partition("</main>")[0]
    )


def test_browser_shows_no_column_without_values_and_marks_the_smallest_drift(tmp_path: Path) -> None:
    net, other = report()["sets"][0]["rows"][0], report("other")["sets"][0]["rows"][0]
    evaluated = report()
    evaluated["sets"][0]["rows"] = [
        {**net, "for_robots": robot_of(-80.0, has_obstacles=True)},
        {**other, "for_robots": robot_of(-3.0, has_obstacles=False)},
    ]
    gallery = Gallery()
    gallery.add("kitchen", frame("only"), model("net"), 1.1 * DEPTH, MASK)
    main = shown(html_page(evaluated, gallery), tmp_path)
    assert main.count("Each row: image, true depth, prediction") == 1
    headings = re.findall(r'<button title="sort">(.*?)</button>', main)
    assert {"missed %", "drift %/min", "1 m on"} < set(headings)
    assert not {"false %", "flicker %", "0\N{EN DASH}1 m"} & set(headings)
    assert '<td class="best">-3.0</td>' in main
    assert "<td>-80.0</td>" in main
    assert "Missed obstacles by range" in main
    assert "False obstacles by range" not in main
    assert "<summary>net" in main, "the whole script ran"
