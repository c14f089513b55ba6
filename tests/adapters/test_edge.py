"""What the edge says of itself, and its files while nobody listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.edge import HaproxyEdge, NoEdge
from aither_rings_mcp.adapters.edge_socket import (
    AdminSocket,
    described,
    old_workers,
    open_to,
    server_addresses,
    traffic_of,
)
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain.errors import EngineFailure, StateUnreadable
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Pace, Route, Slot, Traffic

_STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
5 prod-blue-web 1 web 172.18.0.3 2 0 1
6 prod-green-web 1 web - 0 32 1

"""
_STAT = """# pxname,svname,scur,stot,hrsp_5xx,rtime,req_tot,
prod-web,FRONTEND,9,9,9,,9,
prod-blue-web,web,1,10,1,20,,
prod-blue-web,BACKEND,1,10,1,20,10,
prod-blue-api,BACKEND,2,30,0,40,30,
prod-green-web,BACKEND,0,0,0,0,0,

"""


@pytest.fixture
def rules() -> Settings:
    shop = {"kind": "runtime", "project": "shop", "compose": ["shop.yml"], "fronts": {"web": 8080}}
    return Settings.model_validate({"app": "a", "edge": {}, "services": {"web": {}}, "rings": {"shop": shop}})


@pytest.fixture
def edge(rules: Settings, tmp_path: Path) -> HaproxyEdge:
    """One in a backbone that has no containers, so that no engine is asked."""
    return HaproxyEdge(rules, tmp_path, DockerEngine(), patience=0)


def test_a_server_without_an_address_is_not_reached() -> None:
    assert server_addresses(_STATES) == {"prod-blue-web": "172.18.0.3"}


def test_traffic_is_that_of_all_fronts_and_the_pace_that_of_each() -> None:
    paces = {"web": Pace(answers=10, mean_ms=20), "api": Pace(answers=30, mean_ms=40)}
    both = traffic_of(_STAT, {"prod-blue-web": "web", "prod-blue-api": "api"})
    assert both == Traffic(requests=40, errors=1, paces=paces)
    assert open_to(_STAT, {"prod-blue-web", "prod-blue-api"}) == 3
    assert traffic_of(_STAT, {"prod-green-web": "web"}) == Traffic(paces={"web": Pace(answers=0, mean_ms=0)})


def test_processes_of_before_a_reload_are_told_from_those_that_serve() -> None:
    said = "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
    said += "1               master          2               0d00h02m07s     3.0.5\n# workers\n"
    said += "31              worker          0               0d00h00m00s     3.0.5\n# old workers\n"
    assert old_workers(f"{said}# programs\n\n") == ()
    said += "9               worker          2               0d00h02m07s     3.0.5\n"
    said += "20              worker          1               0d00h00m43s     3.0.5\n"
    assert old_workers(f"{said}# programs\n\n") == old_workers(f"{said}\n") == ("9", "20")
    assert old_workers("1  master  0  0d00h02m07s  3.0.5\n") == ()


def test_an_edge_is_told_by_its_description() -> None:
    assert described("Name: HAProxy\ndescription: edge-0123\nnode: x\n") == "edge-0123"
    assert described("Name: HAProxy\n") is None


async def test_without_a_container_its_files_are_made_ready(edge: HaproxyEdge, tmp_path: Path) -> None:
    await edge.prepare({}, lambda line: None)
    assert (tmp_path / "edge/slots.map").read_text() == "shop blue\n"
    assert "frontend shop-web" in (tmp_path / "edge/haproxy.cfg").read_text()
    assert (tmp_path / "edge").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "edge/run").is_dir()


async def test_rings_that_the_map_does_not_have_are_where_the_record_says(edge: HaproxyEdge, tmp_path: Path) -> None:
    """Somebody may have removed the file while green served."""
    await edge.prepare({"shop": Slot.GREEN}, lambda line: None)
    assert (tmp_path / "edge/slots.map").read_text() == "shop green\n"
    await edge.prepare({"shop": Slot.BLUE}, lambda line: None)
    assert (tmp_path / "edge/slots.map").read_text() == "shop green\n", "what it has, it keeps"


async def test_a_route_is_on_disk_before_anybody_is_asked_and_stays_there(edge: HaproxyEdge, tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match="does not answer") as refused:
        await edge.route("shop", Route(slot=Slot.GREEN))
    assert "ring-ctl up shared" in refused.value.next_step
    assert (tmp_path / "edge/slots.map").read_text() == "shop green\n"
    await edge.prepare({}, lambda line: None)
    assert (tmp_path / "edge/slots.map").read_text() == "shop green\n"


async def test_a_map_that_cannot_be_understood_is_named_and_kept(edge: HaproxyEdge, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge/slots.map").write_text("shop red\n")
    with pytest.raises(StateUnreadable, match=r"slots\.map"):
        await edge.route("shop", Route())
    assert (tmp_path / "edge/slots.map").read_text() == "shop red\n"


async def test_rings_without_an_edge_have_nothing_to_switch() -> None:
    none = NoEdge()
    await none.prepare({}, lambda line: None)
    await none.route("shop", Route())
    assert (await none.routes(), await none.unreached("shop", Slot.BLUE), await none.traffic("shop")) == ({}, (), {})
    assert await none.open("shop", Slot.BLUE) == 0


async def test_what_was_open_before_a_reload_is_asked_for_until_somebody_answers(
    edge: HaproxyEdge, tmp_path: Path
) -> None:
    """Right after it nobody does at times, and what is open then must not look as if it had ended."""
    run = tmp_path / "edge/run"
    run.mkdir(parents=True)
    old = b"#<PID> <type>\n1 master\n# old workers\n7 worker\n# programs\n\n"
    stat = _STAT.replace("prod-blue-web", "shop-blue-web").encode()
    answers = [b"", old, b"", old, stat]
    with _listening(run, [stat]), _listening(run, answers, "master.sock") as asked:
        assert await edge.open("shop", Slot.BLUE) == 2, "with what the process that serves has open"
    proc, counters = b"show proc\n", b"@!7 show stat\n"
    assert asked == [proc, proc, counters, proc, counters]


def test_an_edge_is_asked_again_when_it_went_away_and_may_live_at_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with _listening(folder, [b"", b"\n", b"1\n"]) as asked:
        socket_ = AdminSocket(folder)
        assert socket_.ask("set map m prod green", "show map m") == "\n"
        assert socket_.ask("show info") == "1\n"
    assert asked == [b"set map m prod green;show map m\n"] * 2 + [b"show info\n"]


@contextmanager
def _listening(folder: Path, answers: list[bytes], name: str = "admin.sock") -> Iterator[list[bytes]]:
    """Somebody at the socket who gives these answers, one a connection, and notes what was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        server.bind(name)
        here.undo()
        server.listen()

        def serve() -> None:
            for answer in answers:
                one, _ = server.accept()
                with one:
                    asked.append(one.recv(4096))
                    one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()
