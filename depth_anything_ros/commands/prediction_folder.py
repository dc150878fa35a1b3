"""The folder that `predict` writes into: no result replaces an input, or anything that no `predict` has made."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from depth_anything_ros.commands import CommandError
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from depth_anything_ros.system.output_folder import PREDICTIONS, Made, check_contents

MADE = Made(PREDICTIONS, PREDICTIONS, "predict")
_OWN = "give the results a folder of their own"


def check_output(output: Path, inputs: Sequence[str], sources: Iterable[Path], products: Collection[str]) -> None:
    """Raises `CommandError` where a result would replace a file that `predict` has not made.

    Raises `FolderError` where the folder holds something else. ``sources``: the files that ``inputs`` mean.
    ``products``: endings of what is written for each.
    """
    sources, place = list(sources), output.resolve()
    for path in sources if "png" in products else ():
        if path.suffix.lower() == ".png" and place in (path.parent.resolve(), path.resolve().parent):
            raise CommandError(f"--output {output} holds {path.name}, an input: {_OWN}")
    if not output.is_dir() or check_contents(output, MADE) is not None:
        return
    names = sorted(path.name for path in output.iterdir())
    for given in map(Path, inputs):
        held = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if held and given.is_dir() and given.resolve() in place.parents:
            raise CommandError(f"--output {output} holds {held[0]}, which is among the inputs in {given}: {_OWN}")
    stems = {path.stem for path in sources}
    for name in names:
        stem, _, ending = name.rpartition(".")
        if ending in products and (stem in stems or re.sub(r"_\d+$", "", stem) in stems):
            raise CommandError(f"--output {output} holds {name}, which no `predict` has made there: {_OWN}")
