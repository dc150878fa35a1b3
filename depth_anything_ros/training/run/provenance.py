"""The files that a run starts from, and its teacher, by their hashes: the content of a path may change."""

from __future__ import annotations

from typing import Any

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.initial_network import weights_file
from depth_anything_ros.training.teachers.identity import find_teacher
from depth_anything_ros.zoo.cache import sha256_once


def origins_of(configuration: StageConfiguration) -> dict[str, Any]:
    """Return the SHA-256 of the start weights, and the identity of the teacher, as plain values.

    Raise `CheckpointError` or `ModelError` if a file does not exist.
    """
    origins = {}
    if configuration.network.start is not None:
        origins["start"] = sha256_once(weights_file(configuration.network.start))
    if configuration.teacher is not None and not configuration.carry_labels:
        origins["teacher"] = find_teacher(configuration.teacher).identity
    return origins
