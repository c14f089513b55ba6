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


def test_a_container_goes_by_its_own_name_not_by_what_others_call_it() -> None:
    raw = {"Id": "1", "Names": ["/web/db", "/shop-db-1"], "ImageID": "sha256:1", "State": "exited", "Labels": None}
    listed = listed_container(raw)
    assert (listed.name, listed.service, listed.addresses) == ("shop-db-1", "", {})
