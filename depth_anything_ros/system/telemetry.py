"""No library that this package loads reports to its maker, unless the user asks it to."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

TYPE_CHECKING = False  # as in the package's __init__, which imports this
if TYPE_CHECKING:
    from typing import Any

OPT_OUT = {
    # From 1.29 on Linux: names are looked up and a device id is kept in ~/.cache/Microsoft. Read once, at the import.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # The hub's client and transformers. Files that are asked for are still fetched.
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""The variables that switch reports off, and the value that does."""

REPORTER = "openvino_telemetry"
"""What OpenVINO, at its import, and NNCF report with; no variable stops it, and both do without it."""


def opt_out(
    environment: MutableMapping[str, str] = os.environ,
    modules: MutableMapping[str, Any] = sys.modules,
    home: Path | None = None,
) -> None:
    """Switches every report off that the user has not asked for; child processes inherit the variables.

    The package does this when it is imported, before any of its modules can import one of the libraries. A variable
    that ``environment`` holds is left as it is. `REPORTER` cannot be imported afterwards, unless the user has said yes
    to it by its own command, ``opt_in_out --opt_in``.
    """
    for name, value in OPT_OUT.items():
        environment.setdefault(name, value)
    if not _has_consented(home):
        modules.setdefault(REPORTER, None)


def _has_consented(home: Path | None) -> bool:
    """Whether the user has agreed to OpenVINO's reports, which a file in ``home`` says."""
    try:
        return ((home or Path.home()) / "intel" / REPORTER).read_text().strip() == "1"
    except (OSError, RuntimeError, UnicodeDecodeError):  # no such file, no home, not a text
        return False
