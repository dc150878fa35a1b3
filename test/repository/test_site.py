"""The documentation site builds without a warning, and is whole without a network."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import depth_anything_ros

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")
pytest.importorskip("mkdocstrings_handlers.python", reason="the site needs the extra `docs`")


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    result = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


def test_every_document_is_a_page(repository: Path, site: Path) -> None:
    documents = [path.relative_to(repository / "docs").with_suffix("") for path in (repository / "docs").rglob("*.md")]
    folders = [path.parent if path.name == "README" else path for path in documents]
    assert [str(path) for path in folders if not (site / path / "index.html").is_file()] == []
    assert not list(site.rglob("*.py"))


def test_reference_has_every_public_name_with_its_docstring(site: Path) -> None:
    page = (site / "reference" / "index.html").read_text()
    assert "<blockquote>" not in page  # `>>>` outside of code
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for name in depth_anything_ros.__all__:
        first = getattr(depth_anything_ros, name).__doc__.split("\n")[0].replace("`", " ")
        assert re.search(rf'id="depth_anything_ros\.[\w.]*\.{name}"', page), name
        assert " ".join(re.findall(r"\w+", first)[:5]) in " ".join(re.findall(r"\w+", text)), name


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//'
    assert [page.name for page in site.rglob("*.html") if re.search(loaded, page.read_text())] == []


@pytest.fixture(scope="module")
def pages(repository: Path):
    spec = importlib.util.spec_from_file_location("site_pages", repository / "docs" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("original", "link", "expected"),
    [
        ("README.md", "[a](docs/node.md#meters)", "[a](node.md#meters)"),
        ("README.md", "![a](docs/demo.jpg)", "![a](demo.jpg)"),
        ("docs/node.md", "[a](../README.md#on-a-robot)", "[a](index.md#on-a-robot)"),
        ("docs/node.md", "[a](view.md)", "[a](view.md)"),
        ("docs/recipes/nav2.md", "[a](../node.md)", "[a](../node.md)"),
        ("docs/data.md", "[a](../config/records)", "a"),  # not on the site
    ],
)
def test_links_of_the_repository_become_links_of_the_site(pages, original: str, link: str, expected: str) -> None:
    assert pages._LINK.sub(lambda match: pages.site_link(match, original), link) == expected
