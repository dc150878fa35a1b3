"""Search for images in folders: every image that OpenCV reads, whatever its name, and a report of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
from damaged_files import encoded

from depth_anything_ros.images.file_kinds import FileKind, kind_of_named_file, kind_of_path
from depth_anything_ros.images.folders import PassedOver, find_files

IMAGES = {FileKind.IMAGE, FileKind.UNREAD_IMAGE}


def put(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def found_in(root: Path, requested: set[FileKind] = IMAGES, without: Path | None = None) -> tuple[list[str], str]:
    """Return the images found and the report of the other files."""
    passed_over, errors = PassedOver(), []
    files = [
        str(path.relative_to(root)) for path, _ in find_files(root, requested, passed_over, errors.append, without)
    ]
    assert not errors
    return files, str(passed_over)


def test_images_without_known_suffix_are_found_by_content(tmp_path):
    rare = [ending for ending in (".gif", ".avif", ".jp2") if cv2.haveImageWriter(f"a{ending}")]
    assert ".jp2" in rare
    for ending in rare:
        put(tmp_path / f"rare{ending}", encoded(ending))
    put(tmp_path / "bare", encoded(".png"))
    put(tmp_path / "photo.jpg_large", encoded(".jpg"))
    put(tmp_path / "photo.jfif", encoded(".jpg"))
    put(tmp_path / "photo.JPG", b"damaged, but a picture by its name")
    put(tmp_path / "README", b"words")
    put(tmp_path / "notes.txt", b"BM begins as a bitmap does")
    files, said = found_in(tmp_path)
    assert files == sorted(
        ["bare", "photo.jpg_large", "photo.jfif", "photo.JPG", *(f"rare{ending}" for ending in rare)]
    )
    assert said == "other files: 2 (README, notes.txt)"


def test_unsupported_image_formats_count_as_images(tmp_path):
    put(tmp_path / "a.heic", b"\0\0\0\x18ftypheic")
    put(tmp_path / "b.CR3", b"\0\0\0\x18ftypcrx ")
    put(tmp_path / "c.jp2", b"damaged, of a kind that is read")
    assert found_in(tmp_path) == (["a.heic", "b.CR3", "c.jp2"], "")
    kinds = [kind_of_path(tmp_path / name) for name in ("a.heic", "b.CR3", "c.jp2")]
    assert kinds == [FileKind.UNREAD_IMAGE, FileKind.UNREAD_IMAGE, FileKind.IMAGE]


def test_hidden_files_and_image_named_folders_are_reported_once(tmp_path):
    for number in range(4):
        put(tmp_path / f"._IMG_{number}.JPG")
        put(tmp_path / f"IMG_{number}.JPG")
    put(tmp_path / ".DS_Store")
    put(tmp_path / ".thumbs" / "a.jpg")
    put(tmp_path / "x.png" / "inner.png")
    (tmp_path / "empty.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    files, said = found_in(tmp_path)
    assert files == [*(f"IMG_{number}.JPG" for number in range(4)), "x.png/inner.png"]
    assert said == (
        "hidden: 2 (.DS_Store, .thumbs); macOS metadata: 4 (._IMG_0.JPG, ._IMG_1.JPG, ._IMG_2.JPG, …); "
        "folders named like files: 2 (empty.jpg, x.png); neither files nor folders: 1 (pipe.png)"
    )


def test_broken_link_stays_in_list(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "absent.png")
    assert found_in(tmp_path) == (["a.png"], "")


def test_results_of_runs_are_skipped(tmp_path):
    """Those of earlier runs, and of this one."""
    put(tmp_path / "a.png")
    put(tmp_path / "depth" / "predict.json")
    put(tmp_path / "depth" / "a.png")
    put(tmp_path / "now" / "a.png")
    files, said = found_in(tmp_path, without=tmp_path / "now")
    assert files == ["a.png"]
    assert said == "folders of results of predict: 1 (depth); folders for the results: 1 (now)"
    assert found_in(tmp_path / "depth")[0] == ["a.png"]  # if it is what is asked for


def test_videos_and_sample_labels_are_reported(tmp_path):
    for name in ("a.mp4", "b.MTS", "c.depth.png", "c.label.png", "c.png"):
        put(tmp_path / name)
    assert found_in(tmp_path) == (
        ["c.png"],
        "videos: 2 (a.mp4, b.MTS); depths or labels of samples: 2 (c.depth.png, c.label.png)",
    )
    assert found_in(tmp_path, {FileKind.VIDEO})[0] == ["a.mp4", "b.MTS"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("clip", b"\x1a\x45\xdf\xa3", FileKind.VIDEO),
        ("clip.ts", b"G" + bytes(187) + b"G" + bytes(187) + b"G", FileKind.VIDEO),
        ("clip", b"\0\0\0\x18ftypisom", FileKind.VIDEO),
        ("clip", b"RIFF\0\0\0\0AVI LIST", FileKind.VIDEO),
        ("a.depth.png", b"", FileKind.IMAGE),
        ("words", b"words", FileKind.OTHER),
    ],
)
def test_explicitly_named_file_may_have_any_name(tmp_path, name, content, kind):
    put(tmp_path / name, content)
    assert kind_of_named_file(tmp_path / name) is kind
