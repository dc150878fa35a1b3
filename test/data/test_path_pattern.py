"""Path patterns: the paths that they match, build and find on disk."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.data.segmentation import SegmentationSet
from depth_anything_ros.data.sets import ALL_SETS

pytest.importorskip(
    "hypothesis", minversion="6.85", reason="the hypothesis of Ubuntu 22.04 has no alphabet of patterns"
)

# Few letters, so that what is made by chance meets what is asked for; and those that mean something elsewhere.
NAMES = st.text("ab1_.{}+\n", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
FIELDS = ("one", "two", "three")


@st.composite
def patterns(draw: st.DrawFn) -> PathPattern:
    """One to four path parts: literal, with one field, with two, with a repeated field, or whole folders.

    Of two new fields in one part, neither is repeated: the name alone does not show where one ends.
    """
    parts, again, fields = [], [], iter(FIELDS)
    count = draw(st.integers(1, 4))
    for place in range(count):
        kinds = ["literal", "one", "two", "again", "folders"]
        kind = draw(st.sampled_from(kinds))
        before, after = draw(st.sampled_from(["", "a", "b_"])), draw(st.sampled_from(["", "b", ".1"]))
        names = [name for name, _ in zip(fields, range({"one": 1, "two": 2}.get(kind, 0)), strict=False)]
        if kind == "folders" and place < count - 1 and "{folder*}" not in parts:
            parts.append("{folder*}")
        elif kind == "one" and names:
            parts.append(f"{before}{{{names[0]}}}{after}")
            again.append(names[0])
        elif kind == "two" and len(names) == 2:
            parts.append(f"{before}{{{names[0]}}}_{{{names[1]}}}{after}")
        elif kind == "again" and again:
            parts.append(f"{before}{{{draw(st.sampled_from(again))}}}{after}")
        else:
            parts.append(draw(st.sampled_from(["a", "b.1", "ab"])))
    narrowed = {"one": "[ab]+", "three": "a|b1?", "folder": "[ab/]+"}
    return PathPattern("/".join(parts), narrowed if draw(st.booleans()) else {})


@st.composite
def fields_of(draw: st.DrawFn, pattern: PathPattern) -> dict[str, str]:
    values = {name: draw(NAMES) for name in FIELDS}
    return {**values, "folder": "/".join(draw(st.lists(NAMES, min_size=1, max_size=3)))}


@given(data=st.data(), pattern=patterns())
def test_matched_path_is_rebuilt_from_its_fields(data, pattern):
    path = data.draw(
        st.one_of(fields_of(pattern).map(pattern.path), st.lists(NAMES, min_size=1, max_size=5).map("/".join))
    )
    fields = pattern.match(path)
    assume(fields is not None)
    assert pattern.path(fields) == path
    assert set(fields) == set(re.findall(r"\{(\w+)\*?\}", pattern.pattern))


@given(data=st.data(), pattern=patterns())
def test_built_path_matches_its_pattern(data, pattern):
    fields = data.draw(fields_of(pattern))
    for name, expression in pattern._limits.items():
        assume(re.fullmatch(expression, fields[name]))
    assert pattern.match(pattern.path(fields)) is not None


def test_hidden_file_through_field_is_ignored(tmp_path):
    for path in ("a.1/.1", "a1/1"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    assert list(PathPattern("a{two}/{two}").find(tmp_path)) == [{"two": "1"}]


@given(data=st.data(), pattern=patterns())
def test_find_returns_exactly_the_matching_files(data, pattern):
    """In trees of files by chance and of files that fit, or nearly."""
    paths = data.draw(
        st.lists(
            st.one_of(fields_of(pattern).map(pattern.path), st.lists(NAMES, min_size=1, max_size=5).map("/".join)),
            max_size=12,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in paths:
            try:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
            except OSError:
                continue  # a file by that name is there already, or a folder
        there = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        shown = [path for path in there if not any(name.startswith(".") for name in path.split("/"))]
        found = list(pattern.find(root))
        assert [pattern.locate(root, fields) for fields in found] == [pattern.path(fields) for fields in found]
    assert sorted(map(pattern.path, found)) == sorted(path for path in shown if pattern.match(path) is not None)
    for fields in found:
        assert fields == pattern.match(pattern.path(fields))


LETTERS = st.characters(codec="ascii", exclude_characters="/\0")


@pytest.mark.parametrize("name", sorted(set(ALL_SETS) - {"folder", "list", "bags", "middlebury_motorcycle"}))
@settings(max_examples=20)  # of each of some thirty sets
@given(data=st.data())
def test_declared_patterns_round_trip_their_fields(data, name):
    declared = ALL_SETS[name]
    pattern = PathPattern(declared.images, declared.fields)
    anything = st.from_regex(r"[A-Za-z0-9-]{1,6}", fullmatch=True)
    fields = {
        field: data.draw(
            st.from_regex(declared.fields[field], fullmatch=True, alphabet=LETTERS)
            if field in declared.fields
            else anything
        )
        for field, _ in re.findall(r"\{(\w+)(\*?)\}", declared.images)
    }
    path = pattern.path(fields)
    assert pattern.match(path) == fields
    beside = {DepthSet: "depths", SegmentationSet: "labels"}
    for kind, attribute in beside.items():
        if isinstance(declared, kind) and getattr(declared, attribute):  # the fields that it needs, or looks for
            unknown = {field for field, _ in re.findall(r"\{(\w+)(\*?)\}", getattr(declared, attribute))} - set(fields)
            assert unknown <= {"split", "depth_frame", "annotated"}


def written(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def found(root: Path, pattern: PathPattern, **known: str) -> list[str]:
    return [pattern.path(fields) for fields in pattern.find(root, known)]


def test_files_are_found_folder_by_folder_in_order(tmp_path):
    paths = ("b/2.png", "b/10.png", "a/2.png", "B/1.png", "a/1.png")
    assert found(written(tmp_path, *paths), PathPattern("{scene}/{frame}.png")) == [
        *("B/1.png", "a/1.png", "a/2.png", "b/10.png", "b/2.png"),
    ]


def test_folder_field_finds_upper_folders_first(tmp_path):
    paths = ("a/b/c/rgb/1.png", "a/rgb/2.png", "a/b/rgb/1.png", "rgb/3.png", "c/rgb/rgb/1.png", "a/other/1.png")
    pattern = PathPattern("{folder*}/rgb/{frame}.png")
    assert found(written(tmp_path, *paths), pattern) == [
        *("a/rgb/2.png", "a/b/rgb/1.png", "a/b/c/rgb/1.png", "c/rgb/rgb/1.png"),
    ]
    assert pattern.match("a/b/c/rgb/1.png") == {"folder": "a/b/c", "frame": "1"}
    assert pattern.match("c/rgb/rgb/1.png") == {"folder": "c/rgb", "frame": "1"}
    assert pattern.match("rgb/3.png") is None  # one folder at least


def test_repeated_field_matches_equal_text(tmp_path):
    paths = ("2011/2011_drive_1/a.png", "2011/2012_drive_1/a.png", "2012/2012_drive_2/a.png")
    pattern = PathPattern("{date}/{date}_drive_{drive}/{frame}.png")
    assert found(written(tmp_path, *paths), pattern) == ["2011/2011_drive_1/a.png", "2012/2012_drive_2/a.png"]
    assert pattern.match("2011/2012_drive_1/a.png") is None


def test_narrowed_field_excludes_other_names(tmp_path):
    paths = ("a/00000001.jpg", "a/00000001_masked.jpg", "a/1.jpg", "a/00000002.jpg.txt")
    pattern = PathPattern("{scene}/{frame}.jpg", {"frame": r"\d{8}"})
    assert found(written(tmp_path, *paths), pattern) == ["a/00000001.jpg"]
    assert pattern.match("a/00000001_masked.jpg") is None


def test_hidden_files_and_folders_are_ignored(tmp_path):
    paths = ("a/1.png", "a/.1.png", "a/._1.png", ".a/1.png", "a/.b/c/1.png", "a/c/1.png")
    written(tmp_path, *paths)
    assert found(tmp_path, PathPattern("{scene}/{frame}.png")) == ["a/1.png"]
    assert found(tmp_path, PathPattern("{folder*}/{frame}.png")) == ["a/1.png", "a/c/1.png"]


def test_dots_and_signs_are_literal(tmp_path):
    written(tmp_path, "a+b/1.png", "aab/1.png", "a+b/1xpng")
    assert found(tmp_path, PathPattern("a+b/{frame}.png")) == ["a+b/1.png"]
    assert found(tmp_path, PathPattern("{scene}/{frame}.png"), scene="a+b") == ["a+b/1.png"]


def test_braces_in_file_names_are_no_fields(tmp_path):
    written(tmp_path, "{scene}/rgb/1.png", "{scene}/depth/1.png", "a/depth/1.png")
    beside = PathPattern("{folder*}/depth/{frame}.png")
    (fields,) = PathPattern("{folder*}/rgb/{frame}.png").find(tmp_path)
    assert beside.locate(tmp_path, fields) == "{scene}/depth/1.png"
    (tmp_path / "{scene}" / "depth" / "1.png").unlink()
    assert beside.locate(tmp_path, fields) is None


def test_links_are_followed_and_broken_ones_ignored(tmp_path):
    """Disks of sets are linked together more often than not."""
    written(tmp_path / "disk", "scene/1.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "disk" / "scene")
    (root / "own").mkdir()
    (root / "own" / "1.png").symlink_to(tmp_path / "disk" / "scene" / "1.png")
    (root / "own" / "2.png").symlink_to(tmp_path / "nowhere")
    assert found(root, PathPattern("{scene}/{frame}.png")) == ["linked/1.png", "own/1.png"]


def test_folder_is_no_file_and_file_no_folder(tmp_path):
    written(tmp_path, "a/1.png/inside", "b")
    assert found(tmp_path, PathPattern("{scene}/{frame}.png")) == []
    assert found(tmp_path, PathPattern("b/{frame}.png")) == []
    assert found(tmp_path, PathPattern("a/1.png")) == []


def test_locate_finds_file_with_other_fields_unknown(tmp_path):
    written(tmp_path, "val/drive_1/5.png", "train/drive_2/5.png", "train/drive_1/6.png")
    pattern = PathPattern("{split}/drive_{drive}/{frame}.png")
    assert pattern.locate(tmp_path, {"drive": "1", "frame": "5"}) == "val/drive_1/5.png"
    assert pattern.locate(tmp_path, {"drive": "2", "frame": "6"}) is None


def test_only_folders_in_pattern_are_listed(tmp_path):
    """Sets lie beside millions of files: a folder that is none of theirs is not listed."""
    written(tmp_path, "final/a/1.png", "clean/a/1.png", "final/a/deeper/1.png")
    looked_into = []

    class Listing(PathPattern):
        def _find(self, folder, depth, known):
            looked_into.append(os.path.relpath(folder, tmp_path))
            return super()._find(folder, depth, known)

    assert found(tmp_path, Listing("final/{scene}/{frame}.png")) == ["final/a/1.png"]
    assert looked_into == [".", "final", "final/a"]


def test_missing_field_raises_with_name():
    with pytest.raises(KeyError, match="frame"):
        PathPattern("{scene}/{frame}.png").path({"scene": "a"})


def test_linked_folders_are_searched_without_loops(tmp_path):
    for path in ("elsewhere/x/1.jpg", "set/a/b/2.jpg"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "back").symlink_to(tmp_path / "set")
    found = [fields["folder"] for fields in PathPattern("{folder*}/{frame}.jpg").find(tmp_path / "set")]
    assert found == ["a/b", "linked/x"]
