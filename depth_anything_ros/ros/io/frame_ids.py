"""Which frame ids tf2 takes."""

from __future__ import annotations


def frame_id_fault(frame_id: str) -> str | None:
    """Why tf2 refuses every look-up with this frame id, in words that end with the fix; None where it does not."""
    if not frame_id.strip():
        return "frame_id is empty, which tf2 refuses; set it to the camera's optical frame, as camera_optical_frame"
    if frame_id.startswith("/"):
        return f"frame_id is {frame_id!r}, and tf2 refuses a leading slash; set it to {frame_id.strip('/ ')!r}"
    return None
