"""`tools/bench [ROW...]`: runs the rows, keeps their raw data, and writes the page with its plots."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.machine import facts
from benchmarks.report import page
from benchmarks.rows import traffic
from benchmarks.rows.clients import clients
from benchmarks.rows.cold_start import cold_start
from benchmarks.rows.health import health
from benchmarks.rows.history import history
from benchmarks.rows.promotion_time import promotion_time
from benchmarks.worlds import REPO

#: In the order of the page.
ROWS: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "good": traffic.good,
    "never-healthy": traffic.never_healthy,
    "fails-later": traffic.fails_later,
    "errors": traffic.errors,
    "rollback": traffic.rollback,
    "promotion-time": promotion_time,
    "health": health,
    "history": history,
    "cold-start": cold_start,
    "clients": clients,
}
_PLOTS_PYTHON = REPO / ".venv-bench/bin/python"


def main() -> None:
    """A row that is run again replaces what was kept of it; the others stay on the page."""
    options = _options()
    for name in [name for name in os.environ if name.startswith(("RINGS_", "AITHER_", "COMPOSE_"))]:
        del os.environ[name]  # somebody's own rings
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    out: Path = options.out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is taken away all the same
    raw = out / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    with Bench(options.repetitions, REPO / "build/bench/recordings", tuple(options.contender)) as bench:
        for name in options.rows or ROWS:
            row = {**ROWS[name](bench), "machine": facts()}
            (raw / f"{name}.json").write_text(_readable(row))
            bench.say(f"{name} is measured")
            write(out)


def write(out: Path) -> None:
    """The page and the plots, from the raw data in `out`."""
    kept = {name: out / "raw" / f"{name}.json" for name in ROWS}
    rows = {name: json.loads(file.read_text()) for name, file in kept.items() if file.exists()}
    (out / "README.md").write_text(page(rows))
    if _PLOTS_PYTHON.exists():
        subprocess.run([str(_PLOTS_PYTHON), "-m", "benchmarks.plots", str(out)], cwd=REPO, check=True)
    else:
        print("bench: no plots without .venv-bench: run tools/bench, which makes it", file=sys.stderr)
    print(f"bench: written to {out / 'README.md'}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows (default: all): {', '.join(ROWS)}")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="of each (default 5)")
    parser.add_argument("--quick", action="store_true", help="2 repetitions, to build/bench/quick: does it work?")
    parser.add_argument(
        "--contender", action="append", default=[], metavar="WORD", help="only those with it in the name"
    )
    parser.add_argument("--out", type=Path, default=None, help="where results go (default docs/benchmarks)")
    options = parser.parse_args()
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    if options.quick:
        options.repetitions = min(2, options.repetitions)
    options.out = options.out or REPO / ("build/bench/quick" if options.quick else "docs/benchmarks")
    return options


def _readable(row: Mapping[str, Any]) -> str:
    """JSON with a line for each run, so that a change of one shows as a change of one."""
    if row["kind"] != "traffic":
        return json.dumps(row, indent=1) + "\n"
    runs = {
        contender: [json.dumps(run, separators=(",", ":")) for run in runs] for contender, runs in row["runs"].items()
    }
    head = json.dumps({key: value for key, value in row.items() if key != "runs"}, indent=1)[:-2]
    blocks = [f"  {json.dumps(name)}: [\n   " + ",\n   ".join(lines) + "\n  ]" for name, lines in runs.items()]
    return head + ',\n "runs": {\n' + ",\n".join(blocks) + "\n }\n}\n"


if __name__ == "__main__":
    main()
