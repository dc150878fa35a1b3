"""The page of models: made of recorded frames, with scores, rates, sizes, licenses and published numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def data(shared: Path, tmp_path: Path) -> Path:
    """Two sets of recorded frames: a single frame, and two in a row."""
    folder = tmp_path / "data"
    (folder / "sevenscenes_redkitchen_30hz").mkdir(parents=True)
    (folder / "tum").symlink_to(shared / "data/tum")
    kitchen = shared / "data/sevenscenes_redkitchen_30hz"
    stems = sorted({path.name.split(".")[0] for path in kitchen.glob("*.color.jpg")})[:2]
    for path in (path for stem in stems for path in kitchen.glob(f"{stem}.*")):
        (folder / kitchen.name / path.name).symlink_to(path)
    return folder


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """The cells of the first table below a heading, by their first cell."""
    table = re.search(r"^\|.*?(?=^\n|\Z)", page.split(f"{heading}\n", 1)[1], re.DOTALL | re.MULTILINE).group()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in cells}


def test_page_of_models_is_made_by_one_command(repository, shared, data, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    import models

    output = tmp_path / "models.md"
    arguments = ["--data", data, "--models", shared / "models", "--output", output]
    quick = ["--seconds", "0", "--backend", "onnxruntime", "--workers", "1"]
    assert models.main([*map(str, arguments), *quick]) == 0
    page = output.read_text()
    licenses = rows_of(page, "## Sizes and licenses")
    assert licenses["Depth Anything V2 Large"][2:4] == ["CC-BY-NC-4.0", "**no**"]
    assert licenses["Depth Anything 3 Small"][2:] == ["Apache-2.0", "yes", "101", "`da3_small`"]
    sizes = rows_of(page, "## Measured here")
    assert sizes["tiny"][0] == "5.04 M"
    assert sizes["fastdepth"][:2] == ["1.38 M", "5.8 MB"]
    assert all(float(row[3]) > 0 for name, row in sizes.items() if name in ("tiny", "fastdepth"))
    scores = rows_of(page, "### Protocol full")
    assert scores[""][1:] == ["tiny", "fastdepth", "constant", "vertical gradient", "fastdepth (meters as they are)"]
    assert scores["tum"][:2] == ["1", "0.109 / 0.868"]
    assert "TAE" in rows_of(page, "### Protocol video")["sevenscenes_redkitchen_30hz"][1]
    bag = rows_of(page, "## On recordings")["sevenscenes_redkitchen_30hz"]
    assert bag[0] == "2"
    assert re.fullmatch(r"0\.\d{3} ±0\.\d{3} / 0\.\d{3}", bag[1])
    assert re.search(r"^- (fastdepth|tiny) (beats|and) ", page, re.MULTILINE)
    honesty = re.findall(r"^\| sevenscenes_redkitchen_30hz \| (\w+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert [(model, float(value) > 0) for model, value in honesty] == [("tiny", True), ("fastdepth", True)]
    assert "missed obstacles" in page
    assert "too far by" in page
    published = rows_of(page, "### Relative depth of Depth Anything 3")
    assert published["Depth Anything 3 Mono Large"] == ["0.971", "0.980", "0.823", "0.988", "0.965"]


def test_page_of_models_names_missing_data(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import models

    output = tmp_path / "models.md"
    with pytest.raises(SystemExit) as raised:
        models.main(["--data", str(tmp_path / "absent"), "--output", str(output)])
    assert raised.value.code == 2
    assert "absent" in capsys.readouterr().err
    assert not output.exists()


def test_published_numbers_have_a_source_and_their_networks_a_license(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import yaml
    from models_page import PUBLISHED

    published = yaml.load(PUBLISHED.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    for network in published["networks"]:
        assert network["product"] in ("yes", "no", "ask")
        free = any(name in network["license"] for name in ("MIT", "Apache", "BSD"))
        assert (network["product"] == "no") == (not free)
    for table in published["tables"]:
        assert table["source"]
        assert {len(values) for values in table["rows"].values()} == {len(table["columns"])}
