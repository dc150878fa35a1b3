"""The output folder of `predict`: no result may replace an input, or a file that `predict` did not make."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from depth_anything_ros.commands import CommandError
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from depth_anything_ros.system.output_folder import PREDICTIONS, Made, check_contents

MADE = Made(PREDICTIONS, PREDICTIONS, "predict")
_OWN = "give the results their own folder"


def check_output(output: Path, inputs: Sequence[str], sources: Iterable[Path], products: Collection[str]) -> None:
    """Check that no result would replace a file that `predict` did not make.

    Args:
        output: the folder; may be missing.
        inputs: the inputs on the command line.
        sources: the files of ``inputs``.
        products: extensions of the results.

    Raises:
        CommandError: a result would replace a file.
        FolderError: the folder holds something else.
    """
    sources, resolved = list(sources), output.resolve()
    for path in sources:
        is_replaced = path.suffix.lower().lstrip(".").replace("jpeg", "jpg") in products
        if is_replaced and resolved in (path.parent.resolve(), path.resolve().parent):
            raise CommandError(f"--output {output} holds {path.name}, an input: {_OWN}")
    if not output.is_dir() or check_contents(output, MADE) is not None:
        return
    names = sorted(path.name for path in output.iterdir())
    for given in map(Path, inputs):
        held = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if held and given.is_dir() and given.resolve() in resolved.parents:
            raise CommandError(f"--output {output} holds {held[0]}, which is among the inputs in {given}: {_OWN}")
    stems = {path.stem for path in sources}
    for name in names:
        stem, _, extension = name.rpartition(".")
        if extension in products and (stem in stems or re.sub(r"_\d+$", "", stem) in stems):
            raise CommandError(f"--output {output} holds {name}, which `predict` did not make: {_OWN}")
