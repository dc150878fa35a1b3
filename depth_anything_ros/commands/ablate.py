"""`depth_anything_ros ablate`: variants of one stage trained and scored, and a table beside the paper's."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.own_share import check_alone
from depth_anything_ros.commands.steps import (
    Step,
    as_status,
    how_it_ended,
    is_done,
    is_interruption,
    marker_of,
    run_once,
)
from depth_anything_ros.commands.train import parse_changes
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.output_folder import ABLATION, Made, claimed

if TYPE_CHECKING:
    from depth_anything_ros.training.ablation import Variant

TABLE = "table.md"

_EPILOG = """\
FILE names a base configuration and its variants; config/train holds the paper's tables. --base takes another base, such
as one that fits a small machine, and --set changes all variants alike. Variants that are done are not trained again.
--devices trains each variant on several GPUs of this machine; start this command once, not with torchrun or srun.

example: depth_anything_ros ablate config/train/ablation_components.yaml --output runs/ablation --data SETS
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=parse.path, help="YAML file with the variants")
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for runs and tables"
    )
    parser.add_argument("--base", type=parse.path, metavar="FILE", help="another base configuration")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="changes every variant")
    parser.add_argument(
        "--data", type=parse.path, metavar="DIR", help="scores on the sets there too, as `evaluate` does"
    )
    parser.add_argument("--limit", type=parse.at_least(0), default=10, help="images of each set; 0: all (default: 10)")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument(
        "--devices",
        type=parse.at_least(1),
        metavar="N",
        help="GPUs, or processes on a CPU, of each training (default: 1)",
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="writes the rows as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Trains and scores the variants that are not done, then prints the table and writes it to table.md."""
    require("torch", "lightning_fabric", "pydantic")
    check_alone("ablate", os.environ)
    from depth_anything_ros.training.ablation import read_ablation, table

    ablation = read_ablation(arguments.file)
    base = arguments.base or ablation.base
    _check(ablation.variants, base, parse_changes(arguments.set))
    with claimed(arguments.output, Made(ABLATION, f"the ablation {ablation.title}", "ablate")) as folder:
        rows = []
        for number, variant in enumerate(ablation.variants, start=1):
            print(f"[{number}/{len(ablation.variants)}] {variant.name}", flush=True)
            rows.append(_scores(variant, base, arguments))
        text = table(ablation, rows)
        atomic_write(arguments.output / TABLE, text.encode())
        folder.note({"": str(arguments.file)}, [TABLE])
    print(text)
    if arguments.json:
        named = {variant.name: row for variant, row in zip(ablation.variants, rows, strict=True)}
        atomic_write(arguments.json, json.dumps(named, indent=2, ensure_ascii=False).encode())
    return 0


def _check(variants: Sequence[Variant], base: Path, changes: Mapping[str, Any]) -> None:
    """Raises before hours of training where one of the variants could not be trained, or not be scored as depth."""
    from depth_anything_ros.training.configuration import StageConfiguration

    for variant in variants:
        if StageConfiguration.read(base, {**changes, **variant.changes}).stage == "segment":
            raise CommandError(f"{base}: ablations compare depth, which the stage segment has none of")


def _scores(variant: Variant, base: Path, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Trains and scores a variant, unless it is done. Raises `CommandError` where a command of it does not end well."""
    from depth_anything_ros.training.ablation import read_result, row_of

    folder = arguments.output / variant.folder
    folder.mkdir(parents=True, exist_ok=True)
    trained, evaluated = folder / "trained.json", folder / "evaluated.json"
    changes = [f"--set={change}" for change in arguments.set]  # first, so that variants differ as they are meant to
    changes += _kept_apart(base, arguments)
    changes += [f"--set={name}={json.dumps(value)}" for name, value in variant.changes.items()]
    words = ["train", str(base), "--output", str(folder / "run"), "--accelerator", arguments.accelerator]
    words += ["--devices", str(arguments.devices)] if arguments.devices else []
    train = Step("train", [*words, *changes, "--json", str(trained)])
    if not is_done(train, folder / "done"):  # what is scored is another then
        marker_of(Step("evaluate", []), folder / "done").unlink(missing_ok=True)
    _run(train, folder)
    if not arguments.data:
        return row_of(read_result(trained), None)
    model = ["--model", read_result(trained)["checkpoint"], "--backend", "torch"]
    words = ["evaluate", "--data", str(arguments.data), "--limit", str(arguments.limit), "--no-baselines", *model]
    _run(Step("evaluate", [*words, "--json", str(evaluated)]), folder)
    return row_of(read_result(trained), read_result(evaluated))


def _kept_apart(base: Path, arguments: argparse.Namespace) -> list[str]:
    """What has `train` refuse to learn from the images that are scored afterwards, unless the base says which."""
    from depth_anything_ros.training.configuration import StageConfiguration

    if not arguments.data or StageConfiguration.read(base, parse_changes(arguments.set)).data.evaluation:
        return []
    return [f"--set=data.evaluation={json.dumps([{'set': 'folder', 'root': str(arguments.data)}])}"]


def _run(step: Step, folder: Path) -> None:
    if status := run_once(step, folder / "done"):
        text = f"`{step.name}` of {folder.name} {how_it_ended(status)}; the variants before it are done"
        raise CommandError(text, as_status(status) if is_interruption(status) else 1)
