"""Validation of frame ids by the rules of tf2."""

from __future__ import annotations


def frame_id_problem(frame_id: str) -> str | None:
    """Return why tf2 rejects every lookup with this frame id, with the fix; None if it does not."""
    if not frame_id.strip():
        return "frame_id is empty, which tf2 rejects; set it to the camera's optical frame, e.g. camera_optical_frame"
    if frame_id.startswith("/"):
        return f"frame_id is {frame_id!r}, but tf2 rejects a leading slash; set it to {frame_id.strip('/ ')!r}"
    return None
