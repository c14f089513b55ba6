import pytest

from sample_service import peers

WELL = {"url": "http://aitheros-node:8080", "status": 200, "ring": "dev", "release": "r1"}
FAILING = {"url": "http://aitheros-mind:8124", "status": 500, "ring": None, "release": None}
SILENT = {"url": "http://aitheros-flux:8121", "error": "TimeoutError"}


def test_all_is_well_when_every_peer_answers():
    report = peers.report({"Node": WELL})
    assert (report["status"], report["asked"], report["answered"]) == ("ok", 1, 1)


@pytest.mark.parametrize("peer", [SILENT, FAILING], ids=["silent", "failing"])
def test_a_peer_that_does_not_answer_well_is_not_counted(peer):
    report = peers.report({"Node": WELL, "Other": peer})
    assert report["answered"] == 1, f"1 of 2 peers answered well, but the report counts {report['answered']}"
    assert report["status"] == "degraded", "one of two peers is missing, but the report says all is well"


def test_a_peer_that_cannot_be_reached_is_an_answer_with_its_reason():
    assert peers.ask("http://127.0.0.1:9/")["error"] == "ConnectionRefusedError"
