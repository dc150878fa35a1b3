"""The report on labels: report.json, and pictures of evenly spaced and of the most suspicious samples."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.check import evenly_spaced, panel
from depth_anything_ros.data.manifest import read_manifest
from depth_anything_ros.data.shard_files import name_of
from depth_anything_ros.data.shard_samples import keys_of, read_labeled
from depth_anything_ros.pseudo_labels.folder import PROBLEM, Labeling
from depth_anything_ros.pseudo_labels.statistics import Statistics
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.visualization.captions import captioned, footed, legend
from depth_anything_ros.visualization.colormap import colorize, ramp
from depth_anything_ros.visualization.grid import grid

REPORT, SHEET, SUSPICIOUS = "report.json", "report.jpg", "suspicious.jpg"
SAMPLES, COLUMNS = 24, 4
PERCENTAGES = (1, 10, 50, 90, 99)
MAX_NAMED = 100
"""Images without a label that the report names; the manifest names all of them."""


def write_report(labeling: Labeling, notes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Write report.json, report.jpg and suspicious.jpg into the folder of labels.

    A report of these same labels stays as it is.

    Args:
        labeling: the job.
        notes: of all shards, from `completion.finish`, after it has written the manifest.

    Returns:
        The content of report.json.
    """
    manifest, path = read_manifest(labeling.output), labeling.output / REPORT
    earlier = json.loads(path.read_text()) if path.exists() else {}
    if (earlier.get("version"), earlier.get("damaged")) == (manifest["version"], manifest["damaged"]):
        return earlier
    total, computed = Statistics(), Counter()
    for noted in notes:
        if PROBLEM not in noted:
            total.add_shard(noted["name"], noted["statistics"])
            computed[json.dumps(noted["computed"], sort_keys=True)] += 1
    flat = {name: f"{used:.1%} of the codes used" for used, name in total.flattest}
    saturated = {name: f"{share:.1%} of pixels at an end" for share, name in total.most_saturated}
    suspects = {name: f"{flat.get(name, '')}  {saturated.get(name, '')}".strip() for name in {**flat, **saturated}}
    teacher = f"labels of {manifest['teacher']['name']}"
    spaced = dict.fromkeys(_evenly_spaced(labeling, manifest["shards"]), "")
    _write_sheet(labeling, SHEET, spaced, f"{teacher}: {len(spaced)} of {manifest['samples']}, evenly spaced")
    why = "labels that use the fewest of their 16 bits, and labels with the most pixels at one end of their range"
    worst = {tuple(name.split("/", 1)): reason for name, reason in suspects.items()}
    _write_sheet(labeling, SUSPICIOUS, worst, f"{teacher}, the most suspicious: {why}")
    report = _summary(manifest, total, computed)
    atomic_write(path, (json.dumps(report, indent=2) + "\n").encode())
    return report


def _summary(manifest: dict[str, Any], total: Statistics, computed: Counter[str]) -> dict[str, Any]:
    named = chain.from_iterable(shard["refused"] for shard in manifest["shards"])
    return {
        **{name: manifest[name] for name in ("set", "version", "labels_of", "teacher", "resolution", "damaged")},
        "computed": [{**json.loads(how), "shards": count} for how, count in sorted(computed.items())],
        "images": manifest["samples"] + manifest["refused"],
        "labels": manifest["samples"],
        "refused": {
            "images": manifest["refused"],
            "kinds": dict(sorted(total.refused.items())),
            "named": list(islice(named, MAX_NAMED)),
        },
        "flat": {"labels": total.flat, "share": total.flat / max(1, total.labels)},
        "range": total.range_percentiles(PERCENTAGES),
        "used": total.share_percentiles("used", PERCENTAGES),
        "saturated": total.share_percentiles("saturated", PERCENTAGES),
        "flattest": [{"sample": name, "used": value} for value, name in total.flattest],
        "most_saturated": [{"sample": name, "saturated": value} for value, name in total.most_saturated],
    }


def _evenly_spaced(labeling: Labeling, shards: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield shard and key of samples that are evenly spaced over all labels."""
    ends = list(accumulate(shard["samples"] for shard in shards))
    for index in evenly_spaced(range(ends[-1] if ends else 0), SAMPLES):
        shard = bisect_right(ends, index)
        name = shards[shard]["name"]
        yield name, keys_of(labeling.output / name)[index - ends[shard]]


def _write_sheet(labeling: Labeling, file: str, samples: Mapping[tuple[str, str], str], title: str) -> None:
    """Write images and their labels side by side, in rows, with captions; no file without samples.

    ``samples``: by shard and key, a remark on the label that follows its range.
    """
    pictures = []
    for (shard, key), remark in samples.items():
        sample = read_labeled(labeling.images / shard, labeling.output / shard, key)
        pair = np.hstack([panel(sample.image), panel(colorize(sample.inverse_depth))])
        low, high = np.nanmin(sample.inverse_depth), np.nanmax(sample.inverse_depth)
        label, name = name_of(key)
        lines = f"{shard} {label and label + ': '}{name}", f"inverse depth {low:.3g} to {high:.3g}  {remark}"
        pictures.append(captioned(pair, "\n".join(lines)))
    path: Path = labeling.output / file
    if pictures:
        text = f"{title}; each image with its inverse depth, drawn over the label's own range"
        sheet = footed(grid(pictures, COLUMNS), text, [legend(ramp()[:, ::-1], "far", "near")])
        atomic_write(path, cv2.imencode(path.suffix, sheet)[1].tobytes())
    else:
        path.unlink(missing_ok=True)
