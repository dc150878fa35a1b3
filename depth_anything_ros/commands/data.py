"""`depth_anything_ros data`: list known datasets, check one on disk, pack it into shards, verify shards."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.image_inputs import add_input_range
from depth_anything_ros.commands.packing import MAX_NAMED, pack_set
from depth_anything_ros.commands.rgbd_arguments import add_rgbd_arguments, declaration_of
from depth_anything_ros.commands.train import parse_pairs
from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.check import check_samples, contact_sheet, count_and_choose
from depth_anything_ros.data.image_set import ImageSet, readable_names
from depth_anything_ros.data.overwriting import refuse_files_of
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.data.sets import SETS_BY_KIND, find_set
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.progress import track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the four actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    summaries = {
        "list": "list all datasets with their terms",
        "check": "count the images of a dataset, decode some of them, and draw them with their depth",
        "pack": "pack a dataset into WebDataset shards with a manifest of hashes; after an interruption it continues",
        "verify": "compare the hashes of shards with their manifest",
    }
    for name, summary in summaries.items():
        action = actions.add_parser(name, help=summary, description=summary)
        action.add_argument("--json", type=parse.output_file, metavar="FILE", help="also write the result as JSON")
        if name in ("check", "pack"):
            action.add_argument("set", help="a name from `data list`")
            own = "folder of the dataset (list: the list; bags: the bag)"
            if name == "check":
                action.add_argument("root", type=parse.path, help=own)
            else:
                several = f"{own}; several form one dataset"
                action.add_argument("roots", nargs="+", type=parse.path, metavar="root", help=several)
            action.add_argument(
                "--topic",
                action="append",
                default=[],
                metavar="TOPIC",
                help="bags: read only this topic, with any content; may be repeated (default: all with pictures)",
            )
            action.add_argument(
                "--fields",
                action="append",
                default=[],
                metavar="NAME=REGEX",
                help="only images whose field matches, such as split=train; may be repeated (see docs/data.md)",
            )
            add_input_range(action)
            add_rgbd_arguments(action)
        if name == "check":
            action.add_argument(
                "--samples", type=int, default=16, help="images to decode; 0 for all (default: %(default)s)"
            )
            action.add_argument(
                "--output",
                type=parse.output_file,
                metavar="FILE",
                help="write a contact sheet of these images: sheet.png",
            )
        elif name == "pack":
            action.add_argument(
                "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for the shards"
            )
            action.add_argument("--shard", type=int, default=1000, help="images per shard (default: %(default)s)")
            action.add_argument("--limit", type=int, default=0, help="pack only the first N images (default: all)")
            action.add_argument("--prune", action="store_true", help="remove samples whose images are gone or damaged")
            action.add_argument(
                "--processes", type=int, default=usable_cores(), help="worker processes (default: one per core)"
            )
        elif name == "verify":
            action.add_argument("folder", type=parse.path, help="folder of shards")


def run(arguments: argparse.Namespace) -> int:
    """Run one action. The status is 1 if it finds a problem."""
    if arguments.action == "list":
        result, status = list_sets(), 0
    elif arguments.action == "check":
        declared = _declared(arguments)
        refuse_files_of(declared, arguments.root, [arguments.output, arguments.json])
        result, status = check_set(declared, arguments.root, arguments.samples, arguments.output)
    elif arguments.action == "pack":
        result, status = _pack(arguments)
    else:
        result, status = verify(arguments.folder)
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return status


def _pack(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Pack; return the manifest, and status 1 if images or depth have no partner."""
    if arguments.limit < 0:
        raise CommandError("--limit must be at least 0")
    if absent := [root for root in arguments.roots if not root.exists()]:
        raise CommandError(f"there is no {absent[0]}")
    declared, numbers = _declared(arguments), (arguments.shard, arguments.processes, arguments.limit)
    for root in arguments.roots:
        refuse_files_of(declared, root, [arguments.json])
        if isinstance(declared, TarSet) and root.resolve() in arguments.output.resolve().parents:
            raise CommandError(
                f"--output {arguments.output} is in {root}, whose archives are inputs: choose another folder"
            )
    manifest = pack_set(declared, arguments.roots, arguments.output, *numbers, arguments.prune)
    return manifest, int(any(declared.unpaired(root) for root in arguments.roots))


def _declared(arguments: argparse.Namespace) -> ImageSet:
    """Return the requested set with the options applied."""
    declared = find_set(arguments.set)
    declaration = declaration_of(arguments)
    if isinstance(declared, RgbdSet):
        declared = replace(declared, declared=declaration)
    elif declaration != Declaration():
        raise CommandError(f"{declared.name}: options such as --images and --depth-scale are only for the set rgbd")
    declared = replace(declared.select(parse_pairs("--fields", arguments.fields)), input_range=arguments.input_range)
    if not arguments.topic:
        return declared
    if not isinstance(declared, BagSet):
        raise CommandError(f"--topic is only for bags; {declared.name} has no topics")
    return replace(declared, topics=tuple(arguments.topic))


def list_sets() -> list[dict[str, Any]]:
    """Print and return the declarations of all sets."""
    rows, width = [], max(len(declared.name) for sets in SETS_BY_KIND.values() for declared in sets)
    for kind, sets in SETS_BY_KIND.items():
        print(f"{kind}:")
        for declared in sets:
            count = f"{declared.count:,}".replace(",", " ") if declared.count else ""
            print(f"  {declared.name:<{width}} {count:>10}  {declared.title}; {declared.terms}")
            names = ("name", "title", "terms", "homepage", "images", "count", "pitfalls")
            values = {name: getattr(declared, name) for name in names}
            rows.append({"kind": kind, **values, "patterns": declared.patterns, "splits": declared.split_names})
    return rows


def check_set(declared: ImageSet, root: Path, count: int, sheet: Path | None) -> tuple[dict[str, Any], int]:
    """Count the images of a set and decode samples; print and return the result.

    Args:
        declared: the set.
        root: its folder.
        count: the number of samples; 0 for all.
        sheet: the file of the contact sheet, or None.

    Returns:
        The result for JSON, and the exit status.

    Raises:
        CommandError: the folder or the images are missing, or an option is invalid.
    """
    if not root.exists():
        raise CommandError(f"there is no {root}")
    if sheet is not None and not cv2.haveImageWriter(f"sheet{sheet.suffix or '.png'}"):
        raise CommandError(f"--output {sheet}: unsupported file ending, give .png or .jpg")
    if count < 0:
        raise CommandError("--samples must be at least 0")
    faults: list[str] = []
    found = track(readable_names(declared, root, faults.append), "finding images", "images", leave=False, delay=1.0)
    images, chosen = count_and_choose(found, count)
    for fault in faults[:MAX_NAMED]:
        print(f"left out: {fault}")
    if len(faults) > MAX_NAMED:
        print(f"left out: {len(faults) - MAX_NAMED} more")
    if not images:
        raise CommandError(
            f"none of {len(faults)} images can be read, see above" if faults else declared.empty_message(root)
        )
    decoded = check_samples(declared, root, chosen)
    samples = list(track(decoded, "decoding", "images", len(chosen), leave=False))
    bad = [sample for sample in samples if sample.problem]
    expected = f", of {declared.count} in total" if declared.count else ""
    left_out = [*faults, *declared.unpaired(root)]
    skipped = f", and {len(faults)} left out" if faults else ""
    decoded = f"{len(samples) - len(bad)} of {len(samples)} samples decode"
    print(f"{declared.name}: {images} images{expected}{skipped}; {decoded}")
    for sample in samples:
        print(f"  {sample.name}: {sample.description}")
    if declared.pitfalls:
        print(f"mind: {declared.pitfalls}")
    picture = contact_sheet(samples, f"{declared.name}: {len(samples)} of {images} images, evenly spaced")
    if sheet is not None and picture is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(sheet, cv2.imencode(sheet.suffix or ".png", picture)[1].tobytes())
        print(f"sheet: {sheet}")
    result = {
        "set": declared.name,
        "images": images,
        "expected": declared.count,
        "left_out": left_out,
        "samples": [sample.to_dictionary() for sample in samples],
    }
    return result, int(bool(bad or left_out))


def verify(folder: Path) -> tuple[list[dict[str, str]], int]:
    """Verify the shards of a folder; print and return the problem of each, and the exit status."""
    from depth_anything_ros.data.shards import read_manifest, verify_shards

    total = len(read_manifest(folder)["shards"])
    checked = track(verify_shards(folder), "hashing", "shards", total)
    results = [{"shard": name, "trouble": problem} for name, problem in checked]
    bad = [result for result in results if result["trouble"]]
    for result in bad:
        print(f"{folder / result['shard']} {result['trouble']}; pack the set again, or fetch the shard again")
    print(f"{folder}: {len(results) - len(bad)} of {total} shards are unchanged")
    return results, int(bool(bad))
