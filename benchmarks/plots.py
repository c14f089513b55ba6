"""The plots of the page, as SVG; runs in `.venv-bench`, which has matplotlib and nothing of ours."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# text stays text, and equal data gives an equal file
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "aither", "font.size": 9, "axes.spines.top": False})
mpl.rcParams.update({"axes.spines.right": False})

import matplotlib.pyplot as plt  # noqa: E402

GOOD, BAD, FAILED, OTHER = "#3b7dd8", "#e8a33d", "#d0342c", "#9aa3ad"
#: One plot shows so much of a story at most, in seconds.
_LONGEST_S = 180
#: And draws a line in so many steps at most: a file is not to be larger than its data.
_STEPS = 200


def timelines(row: Mapping[str, Any], file: Path) -> None:
    """For each contender its middle run: good answers a second, and when answers were bad or none came."""
    shown = {name: _middle(runs) for name, runs in row["runs"].items()}
    end = min(_LONGEST_S, max(run["timeline"][-1][0] for run in shown.values()))
    step = max(1, math.ceil(end * 10 / _STEPS))
    figure, axes = plt.subplots(
        len(shown), 1, sharex=True, sharey=True, figsize=(8, 1.25 * len(shown) + 0.8), squeeze=False
    )
    for axis, (name, run) in zip(axes[:, 0], shown.items(), strict=True):
        at, good, bad, failed = _a_second(run["timeline"], step)
        axis.stackplot(at, good, bad, failed, colors=[GOOD, BAD, FAILED], step="post", linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(name, loc="left", fontsize=9)
    axes[-1, 0].set_xlim(-2, end)
    axes[-1, 0].set_xlabel("seconds after the call")
    figure.supylabel("answers a second", fontsize=9)
    keys = [plt.Rectangle((0, 0), 1, 1, color=color) for color in (GOOD, BAD, FAILED)]
    names = ["good", "by the bad release", "failed"] if row["bad"] else ["good", "", "failed"]
    wanted = [(key, name) for key, name in zip(keys, names, strict=True) if name]
    figure.legend(*zip(*wanted, strict=True), loc="upper right", ncols=3, frameon=False)
    _save(figure, file)


def ratios(row: Mapping[str, Any], file: Path) -> None:
    """Each turn's ratio as a dot, the median as a line; below 1 we are quicker."""
    pairs = row["pairs"]
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(pairs) + 1.2))
    for place, pair in enumerate(reversed(pairs)):
        each = [ours / other for ours, other in zip(pair["ours"], pair["against"], strict=True)]
        axis.plot(each, [place] * len(each), "o", color=GOOD, alpha=0.35, markersize=4)
        axis.plot([median(each)] * 2, [place - 0.3, place + 0.3], color=GOOD, linewidth=2)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_yticks(range(len(pairs)), [pair["name"] for pair in reversed(pairs)])
    axis.set_xlim(left=0)
    axis.set_xlabel(f"time of ours / time of {row['against'].replace('`', '')}")
    _save(figure, file)


def growth(row: Mapping[str, Any], file: Path) -> None:
    """Our time and the other's over the size, both scales logarithmic."""
    sizes = row["growth"]
    figure, axis = plt.subplots(figsize=(8, 3))
    series = row["pairs"][: len(sizes)]
    axis.plot(
        sizes, [median(pair["ours"]) * 1000 for pair in series], "o-", color=GOOD, label=row["title"].replace("`", "")
    )
    other = [median(pair["against"]) * 1000 for pair in series]
    axis.plot(sizes, other, "s--", color=OTHER, label=row["against"].replace("`", ""))
    if rest := row["pairs"][len(sizes) :]:
        axis.plot(sizes, [median(pair["ours"]) * 1000 for pair in rest], "^:", color=BAD, label="engine part alone")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_ylabel("milliseconds")
    axis.legend(frameon=False)
    _save(figure, file)


def _a_second(timeline: list[list[float]], step: int) -> tuple[list[float], ...]:
    """Times, and good, bad and failed answers a second, of `step` tenths of a second taken together."""
    parts = [timeline[first : first + step] for first in range(0, len(timeline), step)]
    counts = ([sum(one[kind] for one in part) * 10 / len(part) for part in parts] for kind in (1, 2, 3))
    return [part[0][0] for part in parts], *counts


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(runs, key=lambda run: run["longest_gap_s"])[len(runs) // 2]


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def main(out: Path) -> None:
    for raw in sorted((out / "raw").glob("*.json")):
        row = json.loads(raw.read_text())
        draw = timelines if row["kind"] == "traffic" else growth if "growth" in row else ratios
        draw(row, out / f"{raw.stem}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
