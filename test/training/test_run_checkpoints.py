"""States on disk: exact, only the last few, complete or absent after any failure of process or disk."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the `train` extra")

import torch

from depth_anything_ros.training.run.checkpoints import Checkpoints, StateError, load_state, save_state, snapshot


def state(step: int, size: int = 10) -> dict:
    generator = torch.Generator().manual_seed(step)
    return {
        "step": step,
        "fingerprint": '{"seed": 0}',
        "network": {"weight": torch.randn(size, generator=generator), "half": torch.ones(2, dtype=torch.bfloat16)},
        "optimizer": {"groups": [{"rate": 1e-3, "betas": (0.9, 0.999)}], "step": torch.tensor(float(step))},
    }


def assert_same(ours, theirs) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved(folder: Path, *steps: int, keep: int = 2) -> Checkpoints:
    states = Checkpoints(folder, keep)
    for step in steps:
        states.save(step, state(step))
    states.wait()
    return states


def test_state_round_trip_is_exact(tmp_path):
    states = saved(tmp_path / "states", 7)
    assert_same(states.newest(), state(7))
    assert_same(Checkpoints(tmp_path / "states", 1).newest(), state(7))  # by another run


def test_new_run_has_no_state(tmp_path):
    states = Checkpoints(tmp_path / "states", 2)
    assert states.newest() is None
    assert states.paths() == []
    states.wait()
    assert not (tmp_path / "states").exists()


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_last_states_are_kept(tmp_path, keep):
    steps = (2, 9, 10, 100)
    states = saved(tmp_path, *steps, keep=keep)
    assert files(tmp_path) == [f"state_{step:09d}.pt" for step in steps[-keep:]]
    assert [path.name for path in states.paths()] == files(tmp_path)
    assert states.newest()["step"] == 100


def test_other_files_are_kept_and_are_no_states(tmp_path):
    for name in ("state_last.pt", "state_000000099.pt.copy", "notes.txt"):
        (tmp_path / name).write_text("mine")
    assert saved(tmp_path, 1, 2, 3, keep=1).newest()["step"] == 3
    assert files(tmp_path) == ["notes.txt", "state_000000003.pt", "state_000000099.pt.copy", "state_last.pt"]


def test_tensors_may_change_while_state_is_written(tmp_path):
    states, current = Checkpoints(tmp_path, 2), state(1, size=3_000_000)
    expected = state(1, size=3_000_000)
    states.save(1, current)
    for tensor in (current["network"]["weight"], current["network"]["half"], current["optimizer"]["step"]):
        tensor.fill_(-1.0)
    current["optimizer"]["groups"][0]["rate"] = 0.0
    states.wait()
    assert_same(states.newest(), expected)


def test_snapshot_copies_tensors_without_gradients():
    weight = torch.nn.Parameter(torch.ones(3))
    copy = snapshot({"a": [weight, (weight, 2)], "b": "text"})
    with torch.no_grad():
        weight.zero_()
    assert_same(copy, {"a": [torch.ones(3), (torch.ones(3), 2)], "b": "text"})
    assert not copy["a"][0].requires_grad


def test_next_save_waits_for_previous_one(tmp_path):
    states = Checkpoints(tmp_path, 3)
    for step in range(1, 6):
        states.save(step, state(step, size=300_000))
        assert len(states.paths()) >= min(step - 1, 3)
    states.wait()
    for step, path in zip((3, 4, 5), states.paths(), strict=True):
        assert_same(load_state(path), state(step, size=300_000))


def damages() -> dict[str, bytes]:
    """Damaged variants of a state: truncated, with flipped bits, or another file."""
    generator = np.random.default_rng(0)
    junk = {f"junk {number}": generator.bytes(int(generator.integers(1, 200))) for number in range(150)}
    others = {"empty": b"", "text": b"no state", "zeros": bytes(2000), "JSON": b'{"step": 1}', "zip": b"PK\3\4" * 50}
    return junk | others


def test_newest_rejects_damaged_state_with_advice(tmp_path):
    states = saved(tmp_path, 1, 2)
    newest = tmp_path / "state_000000002.pt"
    whole = newest.read_bytes()
    cut = {f"cut at {length}": whole[:length] for length in range(0, len(whole), 101)}
    for name, content in {**damages(), **cut}.items():
        newest.write_bytes(content)
        with pytest.raises(ValueError, match="cannot resume from ") as caught:
            states.newest()
        assert str(newest) in str(caught.value), name
        assert "; delete it to resume from the state before, or to start again" in str(caught.value), name
    newest.unlink()
    assert_same(states.newest(), state(1))


def test_load_state_with_flipped_bit_is_exact_or_rejected(tmp_path):
    """Some bits mean nothing, such as those between two tensors."""
    path = tmp_path / "state_000000001.pt"
    save_state(path, state(1))
    whole, generator = path.read_bytes(), np.random.default_rng(1)
    named = []
    for place in generator.integers(0, len(whole), 400):
        content = bytearray(whole)
        content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        try:
            found = load_state(path)
        except ValueError as error:
            named.append(str(error))
        else:
            assert_same(found, state(1))
    assert len(named) > 100
    assert all(f"cannot resume from {path}: " in text for text in named)


def test_load_state_rejects_pickled_objects(tmp_path):
    torch.save({"step": Path("/")}, tmp_path / "state_000000001.pt")
    with pytest.raises(ValueError, match="cannot resume from"):
        Checkpoints(tmp_path, 1).newest()


def test_unreadable_state_is_not_reported_as_damaged(tmp_path):
    (tmp_path / "state_000000001.pt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"state_000000001\.pt"):
        Checkpoints(tmp_path, 1).newest()


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Limit every file to ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_reported_and_last_state_kept(tmp_path):
    states = saved(tmp_path, 1, 2, keep=1)
    with files_end_at(100_000):
        states.save(3, state(3, size=1_000_000))
        with pytest.raises(
            StateError, match=r"state_000000003\.pt could not be written: .*\. Free some space and run the"
        ):
            states.wait()
    assert files(tmp_path) == ["state_000000002.pt"]
    assert_same(states.newest(), state(2))
    states.wait()  # it is said once
    states.save(4, state(4, size=1_000_000))
    states.wait()
    assert files(tmp_path) == ["state_000000004.pt"]


def test_failed_save_is_reported_before_next_save(tmp_path):
    states = Checkpoints(tmp_path / "states", 2)
    with files_end_at(1000):
        states.save(1, state(1, size=1_000_000))
        with pytest.raises(StateError, match=r"states/state_000000001\.pt could not be written: "):
            states.save(2, state(2))
    assert files(tmp_path / "states") == []


def test_save_state_reports_full_disk_and_missing_folder(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"before")
    with files_end_at(1000), pytest.raises(StateError, match=r"best\.pt could not be written: .* Free some space"):
        save_state(tmp_path / "best.pt", state(1, size=1_000_000))
    assert files(tmp_path) == ["best.pt"]
    assert (tmp_path / "best.pt").read_bytes() == b"before"
    with pytest.raises(StateError, match=r"absent/best\.pt could not be written"):
        save_state(tmp_path / "absent" / "best.pt", state(1))


def test_partial_state_of_killed_process_is_removed(tmp_path):
    left = tmp_path / ".state_000000007.pt.99999.partial"
    left.write_bytes(b"half a state")
    other = tmp_path / ".notes.partial"
    other.write_bytes(b"mine")
    states = saved(tmp_path, 8)
    assert not left.exists()
    assert other.exists()
    assert states.newest()["step"] == 8
