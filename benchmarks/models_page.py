"""The page docs/models.md: benchmarks/models.py writes it from its measurements and models_published.yaml."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from models_facts import ROUNDS, Rate, Size

from depth_anything_ros.evaluation.breakdown import Honesty
from depth_anything_ros.evaluation.comparison import difference_in_words, interval_of, model_pairs
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.results import SetResult, main_measures, mean_over_sets
from depth_anything_ros.evaluation.robot_report import robot_markdown
from depth_anything_ros.evaluation.run import Evaluation
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.download import MEGABYTES

PUBLISHED = Path(__file__).with_name("models_published.yaml")
BUNDLED = "tiny"
_NONE = "–"

INTRODUCTION = """\
# Models compared

Which network should a robot use? One command generates this page:

```
{command}
```

`make environment` installs its dependencies. It scores every model on this machine: the bundled one, the ONNX files
with a record, and the models of `models fetch`. [Measured here](#measured-here) and [On recordings](#on-recordings)
have our numbers. [Published](#published) has the authors' numbers, which have not been reproduced here.
[evaluation.md](evaluation.md) defines every value.
"""

LICENSES = """\
*Product* shows whether a product may contain the weights: MIT, Apache-2.0 and BSD allow it, CC-BY-NC does not. *Ask*
means that at least a part of the weights has special terms: read them first. This is not legal advice. The last column
has the names for `depth_anything_ros models fetch`.
"""

MEASURED = """\
Scores are AbsRel / δ1 after alignment by scale and shift in inverse depth; ± is half of the 95 % interval over images.
A set of one frame has none. Consecutive frames are not independent, so their interval is too narrow.
"""

RECORDINGS = """\
The bags are made of real recordings: `kitti_drive` has a lidar, TF and compressed images at 10 Hz, and
`sevenscenes_redkitchen_30hz` a depth camera at 30 Hz. All rows except "meters as they are" are aligned image by image,
which hides drift and flicker of the scale. Both recordings last seconds, so drift per minute is an extrapolation.
Latency is measured in fp32 with ONNX Runtime, on a machine with other load.
"""

HONESTY = """\
**Accuracy of σ.** {count} random points of the truth set the scale of each image. Every seventh other pixel scores the
node's σ. For a correct σ the normalized error is 1, with 68 % and 95 % of the pixels within one and two σ.
"""


@dataclass
class Measured:
    """The measurements of benchmarks/models.py.

    Attributes:
        sizes: Size of each model, by name.
        rates: Rate of each model, by name.
        evaluations: Scores on sets, by protocol.
        bags: Scores on recordings.
        honesty: Accuracy of σ, by recording and model.
        points: Number of true points that set the scale for `honesty`.
        command: Command that generates the page.
        left_out: Missing measurements, each with the reason.
    """

    command: str
    points: int
    sizes: dict[str, Size] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    bags: Evaluation | None = None
    honesty: dict[tuple[str, str], Honesty] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def page(measured: Measured) -> str:
    """Return the page in Markdown."""
    published = yaml.load(PUBLISHED.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    parts = [INTRODUCTION.format(command=measured.command), "## Sizes and licenses\n", LICENSES]
    parts += [_networks(published["networks"]), "## Measured here\n", _rates(measured)]
    for name, evaluation in measured.evaluations.items():
        parts += [f"### Protocol {name}\n", f"{_sentence(find_protocol(name).title)}.\n"]
        parts += [MEASURED] if name == "full" else []
        parts += [_scores(evaluation.results), _sentences(evaluation.results)]
    if measured.bags is not None:
        parts += ["## On recordings\n", RECORDINGS, _scores(measured.bags.results), _sentences(measured.bags.results)]
        parts += [_honesty(measured), _robot(measured.bags.results)]
    parts += ["## Published\n", *_published(published["tables"])]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def _networks(networks: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            network["title"],
            str(network.get("parameters", _NONE)),
            network["output"],
            network["license"],
            f"**{network['product']}**" if network["product"] == "no" else network["product"],
            _download(network.get("here", "")),
            f"`{network['here']}`" if "here" in network else _NONE,
        ]
        for network in networks
    ]
    return table(["Network", "Parameters, M", "Output", "License", "Product", "Download, MB", "Name here"], rows)


def _download(name: str) -> str:
    record = known_models().get(name)
    return str(MEGABYTES.get(name) or MEGABYTES.get(record.encoder or "", _NONE)) if record else _NONE


def _rates(measured: Measured) -> str:
    rows = [
        [
            name,
            f"{size.parameters:.2f} M",
            f"{size.megabytes:.1f} MB",
            measured.rates[name].backend,
            f"{measured.rates[name].milliseconds:.1f}",
            f"{1000 / measured.rates[name].milliseconds:.0f}",
        ]
        for name, size in measured.sizes.items()
    ]
    head = ["Model", "parameters", "graph", "fastest here", "ms", "images/s"]
    return (
        "The rate includes all steps from a 640×480 image to the map. It uses the fastest backend and precision that\n"
        f"passes the gate, and the fastest of {ROUNDS} rounds: {_machine()}, {date.today().isoformat()}.\n"
        f"The machine had a load of {_load(measured)} from other work, so the times are upper limits. Scores are for "
        "fp32.\n\n" + table(head, rows)
    )


def _load(measured: Measured) -> str:
    loads = [rate.load for rate in measured.rates.values()]
    return " to ".join(dict.fromkeys(f"{load:.0f}" for load in (min(loads), max(loads))))


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor() or platform.machine()


def _scores(results: Sequence[SetResult]) -> str:
    """Return a table with a row for each set, and one for the means."""
    titles = list(mean_over_sets(results))
    rows = []
    for result in results:
        cells = [_cell(row) if (row := result.row(title)) is not None else _NONE for title in titles]
        rows.append([result.title, str(result.frames), *cells])
    if len(results) > 1:
        means = mean_over_sets(results)
        rows.append(["**mean**", "", *(_values(means[title]) for title in titles)])
    return table(["", "frames", *titles], rows)


def _cell(row: Any) -> str:
    interval = interval_of([row])
    spread = "" if interval is None else f" ±{interval.half_width:.3f}"
    first, _, rest = _values(row.scores).partition(" / ")
    tae = "" if row.tae is None else f", TAE {row.tae:.2f} %"
    return f"{first}{spread} / {rest}{tae}"


def _values(scores: Any) -> str:
    return " / ".join(f"{getattr(scores, name):.3f}" for name in main_measures(scores))


def _sentences(results: Sequence[SetResult]) -> str:
    """Return the comparisons with the bundled model on each set and in the mean."""
    lines = []
    for group in ([result] for result in results) if len(results) > 1 else ():
        lines += [f"- {group[0].title}: {text}." for text in _pairs(group)]
    lines += [f"- {text}." for text in _pairs(results)]
    return "\n".join(lines) + "\n" if lines else ""


def _pairs(results: Sequence[SetResult]) -> list[str]:
    return [difference_in_words(*pair) for pair in model_pairs(results) if BUNDLED in pair[:2]]


def _honesty(measured: Measured) -> str:
    rows = [
        [
            bag,
            model,
            f"{value.normalized_error:.2f}",
            f"{100 * value.within_one:.0f} %",
            f"{100 * value.within_two:.0f} %",
        ]
        for (bag, model), value in measured.honesty.items()
    ]
    head = ["", "model", "normalized error", "within σ", "within 2 σ"]
    return HONESTY.format(count=measured.points) + "\n" + table(head, rows) if rows else ""


def _robot(results: Sequence[SetResult]) -> str:
    return robot_markdown(results).removeprefix("## For robots\n\n")


def _published(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    protocol = find_protocol("paper")
    sets = {"kitti": "KITTI", "nyuv2_labeled": "NYUv2", "sintel": "Sintel", "ddad": "DDAD", "eth3d": "ETH3D"}
    sets["diode"] = "DIODE"
    parts = ["Tables have different sets, crops, caps and alignments. Compare only within a table.\n"]
    for item in protocol.published:
        rows = [
            [model, *(" / ".join(f"{value:.3f}" for value in values.get(name, ())) or _NONE for name in sets)]
            for model, values in item.models.items()
        ]
        parts.append(f"### {_sentence(protocol.title)}\n")
        parts.append(f"AbsRel / δ1. Published: {item.source}. {_notes(item.notes)}\n")
        parts.append(table(["", *sets.values()], rows))
    for item in tables:
        rows = [[model, *values] for model, values in item["rows"].items()]
        parts.append(f"### {item['title']}\n")
        parts.append(f"{item['measures']}. Published: {item['source']}. {item.get('note', '')}".rstrip() + "\n")
        parts.append(table(["", *item["columns"]], rows))
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _notes(notes: Mapping[str, str]) -> str:
    """Return a list of the sets whose published numbers do not reproduce."""
    return "Not reproducible:\n\n" + "\n".join(f"- {name}: {text}." for name, text in notes.items()) if notes else ""
