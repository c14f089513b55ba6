"""A pytest plugin that tells `tests_pass` what happened, one JSON object a line.

It runs in the tests' own Python, which may be older and lacks our packages: standard library and pytest only,
in this one file. `tests_pass` copies it to a folder of its own, because ours holds an `http.py`.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Generator
from typing import Any

import pytest

REPORT = "RINGS_PYTEST_REPORT"
_MESSAGE_LINES = 8


def pytest_configure(config: Any) -> None:
    # A worker of pytest-xdist sends its reports to the controller, which has this plugin too.
    if os.environ.get(REPORT) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reporter(os.environ[REPORT], _root(config)), "rings-pytest-report")


class _Reporter:
    def __init__(self, path: str, root: str) -> None:
        self._root = root
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self._tell(event="start", nodeid=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            where, message = _blame(report, self._root)
            self._tell(
                event="test",
                nodeid=report.nodeid,
                outcome=report.outcome,
                when=report.when,
                where=where,
                message=message,
                duration=report.duration,
            )

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            where, message = _blame(report, self._root)
            self._tell(event="collection_error", nodeid=report.nodeid, where=where, message=message)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._tell(event="internal_error", message=_first_lines(str(getattr(excrepr, "reprcrash", None) or excrepr)))

    def pytest_sessionfinish(self, session: Any) -> None:
        self._tell(event="finish")

    def _tell(self, **fields: Any) -> None:
        self._file.write(json.dumps(fields) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and report.outcome == "failed":
        _remember(report, call.excinfo.value, item.config)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: Any) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    call = getattr(report, "call", None)
    if report.outcome == "failed" and call is not None and call.excinfo is not None:
        error = call.excinfo.value
        # pytest wraps what importing a test module raised.
        _remember(report, error.__cause__ or error, collector.config)


def _remember(report: Any, error: BaseException, config: Any) -> None:
    """On the report itself, as plain values, so that it also travels from a pytest-xdist worker."""
    report.rings_where = _where(error, _root(config))
    lines = traceback.format_exception_only(type(error), error)
    text = lines[-1] if isinstance(error, SyntaxError) else "".join(lines)
    # pytest's own rewriting says "assert 1 == 2" and shows the values below: the type's name adds nothing.
    report.rings_message = _first_lines(text[16:] if text.startswith("AssertionError: assert ") else text)


def _root(config: Any) -> str:
    return str(getattr(config, "rootpath", None) or config.rootdir)  # the second one: pytest before 6.1


def _where(error: BaseException, root: str) -> tuple[str, int] | None:
    """The deepest line of the project's own that it came through: a test or a helper, never a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 1
    own = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        inside = path.startswith(root + os.sep) and "site-packages" not in path
        if inside and not frame.f_locals.get("__tracebackhide__"):
            own = path, line
    return own


def _blame(report: Any, root: str) -> tuple[tuple[str, int] | None, str | None]:
    where = getattr(report, "rings_where", None)
    message = getattr(report, "rings_message", None)
    if report.outcome != "failed":
        return None, None
    location = getattr(report, "location", None)
    if where is None and location is not None and location[1] is not None:
        where = os.path.join(root, location[0]), location[1] + 1  # noqa: PTH118
    return where, message or _first_lines(str(report.longrepr))


def _first_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[:_MESSAGE_LINES])
