"""From the raw data to the page: tables in the words of the people who use the rings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

#: row -> what is kept of it
Rows = Mapping[str, Mapping[str, Any]]

HEAD = """# Benchmarks

What a new release costs the people who use a ring, and what looking at a ring costs, each beside the usual way to do
it on the same machine. Written by `./tools/bench`; every figure is a median with the smallest and largest value in
brackets. The raw data is in [raw/](raw).
"""

HOW = """
## How it is measured

* **The ring**: the sample in `compose/` as it is shipped, 11 services, with names and ports of its own. The backbone
  and the dev ring run beside it, as they do on a real machine. One contender runs at a time; the contenders take
  turns, so that what slows the machine for a while slows all of them.
* **The load**: 4 clients in a process of their own, at full speed, on 127.0.0.1, over kept-alive connections, each
  asking the ring's three front ports in turn. Nothing is tried twice. After a failure a client waits 10 ms, so the
  *number* of failed requests says less than the *longest gap* without a good answer at one of the ports. *That minute*
  begins with the first failed request.
* **aither-rings** is `ring-ctl promote staging prod` with the smoke tests and the monitor of `rings.yaml`; its command
  includes the gates. In brackets: another strategy than the configured one; *settled*: asked to go back after the
  settle window (20 s here), when what was replaced no longer runs.
* **docker compose up -d** replaces the containers in place by ones with new tags. Nobody looks after it.
* **compose down, then up** is the way of the article, with its monitor's rule: every 15 s, more than half of the
  critical services unhealthy for over 90 s, then down and up with the old tags.
* **docker-rollout** is the public script (v0.13, a copy is in `benchmarks/vendor`), one service after another, behind
  an HAProxy that follows Docker's DNS twice a second, checks `/health`, and redispatches refused connections.
* **Docker Swarm** runs on an engine of its own, with update order `start-first` and failure action `rollback`, DNS
  round robin and the same HAProxy before it, as Swarm's own mesh needs IPVS. `docker stack deploy` updates all services
  at once; its users ask on that engine's network.
"""

_NOBODY = "nobody notices"


def page(rows: Rows) -> str:
    """The whole page, of the rows there are."""
    parts = [HEAD, _machine(rows)]
    for name, row in rows.items():
        parts.append(f"\n## {row['title']}\n")
        parts.append(_traffic(name, row) if row["kind"] == "traffic" else _ratios(row))
        parts.append(f"\n![{row['title'].replace('`', '')}]({name}.svg)\n")
    return "".join([*parts, HOW])


def ratios(pair: Mapping[str, Any]) -> list[float]:
    """Ours over the other, each turn by itself."""
    return [ours / other for ours, other in zip(pair["ours"], pair["against"], strict=True)]


def _machine(rows: Rows) -> str:
    shown: dict[str, list[str]] = {}
    for name, row in rows.items():
        said = row["machine"]
        line = (
            f"{said['processor']}, {said['memory']}, Linux {said['kernel']}, Docker {said['docker']}, "
            f"Compose {said['compose']}, Python {said['python']}; commit {said['commit']}"
        )
        shown.setdefault(line, []).append(f"{name} ({said['measured']})")
    return "".join(f"\nMeasured on {line}: {', '.join(names)}.\n" for line, names in shown.items())


def _traffic(name: str, row: Mapping[str, Any]) -> str:
    heads = ["", "runs", "requests", "failed", "longest gap"]
    if name == "rollback":
        heads += ["call to last answer of the unwanted release", "the command took"]
    elif row["bad"]:
        heads += ["answered by the bad release", "first bad answer to all good", "the command took"]
    else:
        heads += ["the command took"]
    return _table(heads, (_traffic_line(name, row, contender, runs) for contender, runs in row["runs"].items()))


def _traffic_line(name: str, row: Mapping[str, Any], contender: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    def column(key: str) -> list[Any]:
        return [run[key] for run in runs]

    failed = f"{_counts(column('failed'))} = {median(column('failed_share')):.2%}"
    if row["bad"]:
        failed += f"; {median(column('minute_failed_share')):.2%} of that minute"
    line = [contender, str(len(runs)), f"{median(column('requests')):,.0f}", failed, _seconds(column("longest_gap_s"))]
    if name == "rollback":
        line.append(_seconds([one for one in column("last_bad_s") if one is not None]))
    elif row["bad"]:
        line += [_counts(column("by_bad_release")), _restored(runs)]
    return [*line, _seconds(column("wall_s"))]


def _restored(runs: Sequence[Mapping[str, Any]]) -> str:
    left = sum(not run["restored"] for run in runs)
    took = [run["bad_for_s"] for run in runs if run["bad_for_s"] is not None]
    if left:
        return _NOBODY if left == len(runs) else f"{_NOBODY} in {left} of {len(runs)}, else {_seconds(took)}"
    return _seconds(took) if took else "no bad answer"


def _ratios(row: Mapping[str, Any]) -> str:
    heads = ["", "turns", "ours / the other", "ours", row["against"]]
    lines = [
        [
            pair["name"],
            str(len(pair["ours"])),
            f"**{median(ratios(pair)):.2f}** ({min(ratios(pair)):.2f}-{max(ratios(pair)):.2f})",
            _seconds(pair["ours"]),
            _seconds(pair["against"]),
        ]
        for pair in row["pairs"]
    ]
    return _table(heads, lines) + _growth(row) + "".join(f"\n{note}\n" for note in row.get("notes", ()))


def _growth(row: Mapping[str, Any]) -> str:
    """How our own time grows from each size to the next, and from the first to the last."""
    sizes = row.get("growth", ())
    ours = [median(pair["ours"]) for pair in row["pairs"][: len(sizes)]]
    steps = [*pairwise(range(len(sizes))), *([(0, len(sizes) - 1)] if len(sizes) > 2 else [])]
    names = [pair["name"] for pair in row["pairs"]]
    said = [f"from {names[a]} to {names[b]} (x {sizes[b] / sizes[a]:,.1f}) x {ours[b] / ours[a]:.2f}" for a, b in steps]
    return f"\nOur time grows {', '.join(said)}.\n" if said else ""


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    ruled = [heads, ["---"] * len(heads), *lines]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in ruled)


def _seconds(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{_time(median(values))} ({_time(min(values))}-{_time(max(values))})"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _counts(values: Sequence[int]) -> str:
    return f"{median(values):,.0f} ({min(values):,}-{max(values):,})"
