"""MkDocs' hooks: pages from outside docs/, the reference of the public names, and links between them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import depth_anything_ros

REPOSITORY = Path(__file__).resolve().parents[1]
COPIES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "QUALITY_DECLARATION.md": "quality_declaration.md",
}
"""Files of the repository, and the pages that they become."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^```.*?^```\s*$", re.DOTALL | re.MULTILINE)
_LIST_AFTER_TEXT = re.compile(r"^((?![-*\d|>#\s]).*\n)(?=(?:[-*]|\d+\.) )", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Add the pages that the navigation lacks."""
    listed = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    folder = Path(config.docs_dir)
    others = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    if unlisted := [page for page in others if page not in listed]:
        config.nav.append({"More": unlisted})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    pages = {page: (REPOSITORY / name).read_text(encoding="utf-8") for name, page in COPIES.items()}
    pages["reference.md"] = reference()
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links and lists, which are written for GitHub, into those of the site."""
    source = page.file.src_uri
    original = {copy: name for name, copy in COPIES.items()}.get(source, f"docs/{source}")

    def outside_code(text: str) -> str:
        text = _LIST_AFTER_TEXT.sub(r"\1\n", text)  # Python-Markdown wants an empty line there
        return _LINK.sub(lambda match: site_link(match, original), text)

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [outside_code(markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, outside_code(markdown[end:])])


def site_link(match: re.Match[str], original: str) -> str:
    """Return the link of a file of the repository as one of the site. What is not on the site loses its link."""
    image, text, path, anchor = match.groups()
    target = (REPOSITORY / original).parent.joinpath(path).resolve().relative_to(REPOSITORY).as_posix()
    if target in COPIES:
        goal = COPIES[target]
    elif target.startswith("docs/"):
        goal = target.removeprefix("docs/")
    else:
        return text
    depth = 0 if original in COPIES else original.count("/") - 1
    return f"{image}[{text}]({'../' * depth}{goal}{anchor or ''})"


def reference() -> str:
    """Return the page of the names that ``import depth_anything_ros`` gives."""
    head = "# Reference\n\nWhat `from depth_anything_ros import …` gives. [How to use it](python.md).\n"
    names = (
        f"\n::: depth_anything_ros.{depth_anything_ros._MODULES[name]}.{name}\n" for name in depth_anything_ros.__all__
    )
    return head + "".join(names)
