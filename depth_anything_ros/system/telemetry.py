"""Disables the telemetry of the libraries that this package loads, unless the user opts in."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

TYPE_CHECKING = False  # as in the package's __init__, which imports this
if TYPE_CHECKING:
    from typing import Any

OPT_OUT = {
    # Since 1.29 on Linux it looks up names and keeps a device id in ~/.cache/Microsoft. Read once, at import.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # The hub's client and transformers. Requested files are still downloaded.
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""The variables that disable telemetry, with their values."""

REPORTER = "openvino_telemetry"
"""The telemetry module of OpenVINO (at import) and NNCF. No variable disables it; both work without it."""


def opt_out(
    environment: MutableMapping[str, str] = os.environ,
    modules: MutableMapping[str, Any] = sys.modules,
    home: Path | None = None,
) -> None:
    """Disable all telemetry without the user's consent. Child processes inherit the variables.

    The package calls this when it is imported, before its modules import one of the libraries. `REPORTER` can then
    not be imported, unless the user has agreed with its own command, ``opt_in_out --opt_in``.

    Args:
        environment: gets the variables; existing values stay.
        modules: the imported modules, in which `REPORTER` is blocked.
        home: the user's home; default: that of this process.
    """
    for name, value in OPT_OUT.items():
        environment.setdefault(name, value)
    if not _has_consented(home):
        modules.setdefault(REPORTER, None)


def _has_consented(home: Path | None) -> bool:
    """Return whether the user has agreed to OpenVINO's telemetry, by a file in ``home``."""
    try:
        return ((home or Path.home()) / "intel" / REPORTER).read_text().strip() == "1"
    except (OSError, RuntimeError, UnicodeDecodeError):  # no such file, no home, not a text
        return False
