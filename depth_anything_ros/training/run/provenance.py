"""Which files a run starts from and is taught by: told by their hashes, since a path may come to mean another."""

from __future__ import annotations

from typing import Any

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.initial_network import weights_file
from depth_anything_ros.training.teachers.identity import find_teacher
from depth_anything_ros.zoo.cache import sha256_once


def origins_of(configuration: StageConfiguration) -> dict[str, Any]:
    """The SHA-256 of the weights that a stage starts from, and what is to know of its teacher, as plain values.

    Raises `CheckpointError` or `ModelError` where there is no such file.
    """
    origins = {}
    if configuration.network.start is not None:
        origins["start"] = sha256_once(weights_file(configuration.network.start))
    if configuration.teacher is not None and not configuration.carry_labels:
        origins["teacher"] = find_teacher(configuration.teacher).identity
    return origins
