"""`depth_anything_ros ablate`: variants of one stage, trained and scored, in a table next to the paper's scores."""

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
    end_text,
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
FILE has a base configuration and its variants; config/train has those of the papers. --base sets another base, such
as one for a small machine, and --set changes all variants. Finished variants are not trained again. --devices trains
each variant on several GPUs of this machine; start this command once, without torchrun or srun.

example: depth_anything_ros ablate config/train/ablation_components.yaml --output runs/ablation --data ALL_SETS
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=parse.path, help="YAML file with the variants")
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for runs and tables"
    )
    parser.add_argument("--base", type=parse.path, metavar="FILE", help="another base configuration")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change every variant")
    parser.add_argument(
        "--data", type=parse.path, metavar="DIR", help="also score on the datasets in DIR, as `evaluate` does"
    )
    parser.add_argument(
        "--limit", type=parse.at_least(0), default=10, help="images of each dataset; 0: all (default: 10)"
    )
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument(
        "--devices",
        type=parse.at_least(1),
        metavar="N",
        help="GPUs, or processes on a CPU, for each training (default: 1)",
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the rows to FILE as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Train and score the variants that are not done, then print the table and write it to table.md."""
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
    """Check before hours of training that every variant can be trained, and scored as depth."""
    from depth_anything_ros.training.configuration import StageConfiguration

    for variant in variants:
        configuration = StageConfiguration.read(base, {**changes, **variant.changes})
        configuration.check_sources()
        if configuration.stage == "segment":
            raise CommandError(f"{base}: ablations compare depth, but the stage segment has none; give another base")


def _scores(variant: Variant, base: Path, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Train and score a variant, unless it is done. Raise `CommandError` if one of its commands fails."""
    from depth_anything_ros.training.ablation import read_result, row_of

    folder = arguments.output / variant.folder
    folder.mkdir(parents=True, exist_ok=True)
    trained, evaluated = folder / "trained.json", folder / "evaluated.json"
    changes = [f"--set={change}" for change in arguments.set]  # first, so that a variant's own changes win
    changes += _evaluation_setting(base, arguments)
    changes += [f"--set={name}={json.dumps(value)}" for name, value in variant.changes.items()]
    words = ["train", str(base), "--output", str(folder / "run"), "--accelerator", arguments.accelerator]
    words += ["--devices", str(arguments.devices)] if arguments.devices else []
    train = Step("train", [*words, *changes, "--json", str(trained)])
    if not is_done(train, folder / "done"):  # the scores are of another model
        marker_of(Step("evaluate", []), folder / "done").unlink(missing_ok=True)
    _run(train, folder)
    if not arguments.data:
        return row_of(read_result(trained), None)
    model = ["--model", read_result(trained)["checkpoint"], "--backend", "torch"]
    words = ["evaluate", "--data", str(arguments.data), "--limit", str(arguments.limit), "--no-baselines", *model]
    _run(Step("evaluate", [*words, "--json", str(evaluated)]), folder)
    return row_of(read_result(trained), read_result(evaluated))


def _evaluation_setting(base: Path, arguments: argparse.Namespace) -> list[str]:
    """Return the setting that keeps images of --data out of training, unless the base has its own."""
    from depth_anything_ros.training.configuration import StageConfiguration

    if not arguments.data or StageConfiguration.read(base, parse_changes(arguments.set)).data.evaluation:
        return []
    return [f"--set=data.evaluation={json.dumps([{'set': 'folder', 'root': str(arguments.data)}])}"]


def _run(step: Step, folder: Path) -> None:
    if status := run_once(step, folder / "done"):
        text = f"`{step.name}` of {folder.name} {end_text(status)}; the variants before it are done"
        raise CommandError(text, as_status(status) if is_interruption(status) else 1)
