"""A Griffe extension for the site's reference: examples in docstrings become code, wherever they stand."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*\n?(?:.+\n?)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Fences each run of lines that starts with ``>>>``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a name before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(
                lambda example: f"```python\n{example.group().rstrip()}\n```\n", obj.docstring.value
            )
