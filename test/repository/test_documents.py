"""README and docs/: every link leads to an existing file and heading."""

import re
from pathlib import Path

import pytest

from depth_anything_ros.data.sets import SETS_BY_KIND
from depth_anything_ros.runtime.backends import BACKENDS

REPOSITORY = Path(__file__).parents[2]
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_document_links_resolve(page):
    broken = []
    for path, anchor in _LINK.findall(prose(page)):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}" if anchor else path)
    assert not broken


def test_folders_mirror_package():
    folders = {path.parent.name for path in (REPOSITORY / "depth_anything_ros").glob("*/__init__.py")}
    tested = {path.parent.name for path in (REPOSITORY / "test").rglob("test_*.py")}
    assert tested - folders == {"benchmarks", "repository"}
    assert folders - tested == {"bench", "demo"}  # through their commands


def test_contributing_names_existing_files():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Measure on a GPU")[0]
    paths = re.findall(r"`((?:[\w.]+/)*\w+(?:/|\.(?:py|md|yaml|yml|toml)))`", re.sub(r"`test_.*?`|NAME_\w+", "", text))
    assert len(paths) > 20
    places = (REPOSITORY, REPOSITORY / "depth_anything_ros")
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def test_every_backend_and_dataset_is_documented():
    backends, data = ((REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("backends.md", "data.md"))
    assert [name for name in BACKENDS if f"`{name}`" not in backends] == []
    names = [declared.name for kind, sets in SETS_BY_KIND.items() if kind != "sample" for declared in sets]
    assert [name for name in names if not re.search(rf"\b{name}\b", data)] == []
