"""The fingerprint of a run: all that decides its result. A run resumes only with the same fingerprint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depth_anything_ros.data.sources import name_and_version
from depth_anything_ros.training.configuration import StageConfiguration, without_paths
from depth_anything_ros.training.earlier_names import state_with_present_names, with_present_names
from depth_anything_ros.training.input.overlap import Sources
from depth_anything_ros.training.run.folder import differences


def versions_of(sources: Sources) -> dict[str, list[str]]:
    """Return the names and versions of the sources, by kind; kinds without sources are left out."""
    return {kind: [name_and_version(source) for source in of_kind] for kind, of_kind in sources.items() if of_kind}


def fingerprint_of(configuration: StageConfiguration, learned: Sources, origins: Mapping[str, Any]) -> str:
    """Return all that decides a run's result, as JSON.

    Args:
        configuration: the stage's settings; paths in it do not count.
        learned: the sources that are trained on, by kind; their versions count.
        origins: hashes of the start weights and the teacher, from `origins_of`.
    """
    fingerprint = without_paths(configuration.fingerprint())
    return json.dumps({**fingerprint, "sources": versions_of(learned), "origins": origins}, sort_keys=True)


def check_same_run(state: dict[str, Any], fingerprint: str, folder: Path) -> None:
    """Check that a saved state belongs to this run.

    Args:
        state: the state, from this release or an earlier one.
        fingerprint: the present run's, from `fingerprint_of`.
        folder: the run's folder, for the message.

    Raises:
        ValueError: the state is from another configuration or other data; the message lists the differences.
    """
    earlier = json.loads(state_with_present_names(state)["fingerprint"])
    before, now = without_paths(with_present_names(earlier)), json.loads(fingerprint)
    if before != now:
        changes = "; ".join(differences(before, now))
        raise ValueError(
            f"{folder} holds a run with another configuration, or of other data ({changes}): choose another folder, or "
            "delete it"
        )
