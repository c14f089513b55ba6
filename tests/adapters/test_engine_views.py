import pytest

from aither_rings_mcp.adapters.engine import health_entries, listed_container


def test_the_health_log_says_when_how_and_what_was_written() -> None:
    log = [{"Start": "2026-01-31T12:00:00Z", "End": "", "ExitCode": 1, "Output": "refused\n"}, {"ExitCode": 0}]
    assert health_entries({"State": {"Health": {"Status": "unhealthy", "Log": log}}}) == (
        "2026-01-31T12:00:00Z exit code 1: refused",
        "None exit code 0: ",
    )


def test_a_container_without_a_healthcheck_has_no_health_log() -> None:
    for state in ({}, {"Health": None}, {"Health": {"Status": "none", "Log": None}}):
        assert health_entries({"State": state}) == ()


_LISTED = {"Id": "1", "Names": ["/shop-db-1"], "ImageID": "sha256:1", "State": "running", "Status": "", "Labels": None}


def test_a_container_goes_by_its_own_name_not_by_what_others_call_it() -> None:
    listed = listed_container({**_LISTED, "Names": ["/web/db", "/shop-db-1"]})
    assert (listed.name, listed.service, listed.addresses) == ("shop-db-1", "", {})


@pytest.mark.parametrize(
    ("state", "status", "health"),
    [
        ("running", "Up 2 minutes", None),
        ("running", "Up 2 minutes (healthy)", "healthy"),
        ("running", "Up 12 hours (unhealthy)", "unhealthy"),
        ("running", "Up Less than a second (health: starting)", "starting"),
        ("paused", "Up 2 minutes (Paused)", None),
        ("restarting", "Restarting (1) 3 seconds ago", None),
        ("exited", "Exited (137) About a minute ago", None),
        ("created", "Created", None),
    ],
)
def test_the_health_of_a_listed_container_stands_behind_how_long_it_is_up(
    state: str, status: str, health: str | None
) -> None:
    listed = listed_container({**_LISTED, "State": state, "Status": status})
    assert (listed.status, listed.health) == (state, health)
