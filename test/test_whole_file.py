"""Files that appear whole or not at all."""

import pytest

from depth_anything_ros.whole_file import replacing, write_whole


def test_a_file_is_written_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way():
        with replacing(path) as partial:
            partial.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_absent_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        write_whole(tmp_path / "absent" / "file", b"new")
