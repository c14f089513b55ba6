"""The edge: HAProxy in the backbone, told by files what to start with and by a socket what to do now."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.adapters.edge_socket import (
    GLANCE,
    START,
    AdminSocket,
    described,
    old_workers,
    open_to,
    server_addresses,
    traffic_of,
)
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain import edge_map
from aither_rings_mcp.domain.edge_config import FRONT, backend, container, description, edge_config
from aither_rings_mcp.domain.edge_map import INSIDE
from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure, StateUnreadable
from aither_rings_mcp.domain.health import ListedContainer
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot, Traffic
from aither_rings_mcp.ports import OnLine

#: On the container that looks at a new configuration, for as long as that takes.
LABEL_CHECK = "aither.rings.check"
#: Of its files, in the state folder. What belongs to them only while they are changed starts with a dot.
FOLDER = "edge"
_CONFIG, _CANDIDATE, _MAP, _LOCK, _RUN = "haproxy.cfg", ".haproxy.cfg.new", "slots.map", ".lock", "run"
_SERVERS = "servers.state"
_SHOW_MAP = f"show map {edge_map.MAP_FILE}"
_SHOW_STAT = "show stat"


def controller_socket(state_dir: Path) -> Path:
    """Where the edge looks for the controller, whom it hands `/rings/*` of the rings' own ports to."""
    return state_dir / FOLDER / _RUN / "controller.sock"


class HaproxyEdge:
    """The edge of one installation. Its files and sockets are in `<state_dir>/edge`, for their owner only.

    What it counts starts anew with each reload. What was open before goes on, and counts as open where the edge has a
    socket for its master process, as the shipped one. `patience` is how many seconds it may be away before a change
    fails: Docker needs some to start a container in many networks anew.
    """

    def __init__(self, settings: Settings, state_dir: Path, engine: DockerEngine, patience: float = 20.0) -> None:
        self._settings = settings
        self._folder = state_dir / FOLDER
        self._engine = engine
        self._patience = patience
        self._socket = AdminSocket(self._folder / _RUN)
        self._master = AdminSocket(self._folder / _RUN, "master.sock")

    async def prepare(self, recorded: Mapping[str, Slot], on_line: OnLine) -> None:
        """Without a container of these files they are made ready for one, and that is all. A configuration that
        HAProxy refuses raises `config_invalid`, and the one before stays.
        """
        text = edge_config(self._settings)
        async with self._alone():
            routes = edge_map.with_every_ring(self._read_map(), self._settings, recorded)
            self._write_map(routes)
            there = await self._container(on_line)
            if durable.read_bytes(self._folder / _CONFIG) != text.encode():
                if there is not None:
                    await self._check(there, text)
                durable.replace(self._folder / _CONFIG, text.encode())
            if there is None:
                return
            await self._take_over(there, description(text), on_line)
            for ring, route in routes.items():
                await run_sync(self._switch, ring, route)

    async def route(self, ring: str, route: Route) -> None:
        """The file is written in any case; what the edge does not say itself it does is an error."""
        async with self._alone():
            self._write_map({**self._read_map(), ring: route})
            await run_sync(self._switch, ring, route)

    async def routes(self) -> Mapping[str, Route]:
        said = await run_sync(self._socket.ask, _SHOW_MAP)
        try:
            return edge_map.routes(edge_map.shown(said))
        except ValueError as error:
            raise EngineFailure(f"the edge's map has an entry that leads nowhere: {error}", START) from error

    async def unreached(self, ring: str, slot: Slot) -> tuple[str, ...]:
        """Also those whose container has another address by now than the one that the edge knows."""
        of_ring = self._settings.rings[ring]
        project = of_ring.slots.get(slot)
        if project is None:
            return tuple(of_ring.fronts)
        known = server_addresses(await run_sync(self._socket.ask, "show servers state"))
        there = {one.name: one for one in await self._engine.listed(project) if one.status == "running"}

        def reached(service: str) -> bool:
            one = there.get(container(project, service))
            return one is not None and known.get(backend(ring, slot, service)) in one.addresses.values()

        return tuple(service for service in of_ring.fronts if not reached(service))

    async def traffic(self, ring: str) -> Mapping[Slot, Traffic]:
        counted = await run_sync(self._socket.ask, _SHOW_STAT)
        of_ring = self._settings.rings[ring]
        services = {slot: {backend(ring, slot, one): one for one in of_ring.fronts} for slot in of_ring.slots}
        return {slot: traffic_of(counted, backends) for slot, backends in services.items()}

    async def open(self, ring: str, slot: Slot, service: str | None = None) -> int:
        fronts = [one for one in self._settings.rings[ring].fronts if service in (None, one)]
        backends = {backend(ring, slot, one) for one in fronts}
        counted = (await run_sync(self._socket.ask, _SHOW_STAT), *await run_sync(self._from_before))
        return sum(open_to(one, backends) for one in counted)

    def _from_before(self) -> tuple[str, ...]:
        """What the processes count that go on with what was open before a reload; nothing where nobody tells."""

        def attempt() -> list[str]:
            old = old_workers(self._master.once("show proc"))
            return [self._master.once(f"@!{pid} {_SHOW_STAT}") for pid in old]

        try:
            # For a moment after a reload nobody answers there: asked once, what is open would look ended.
            answers = self._master.until(attempt, GLANCE)
        except EngineFailure:
            return ()
        return tuple(one for one in answers if one.startswith("# pxname"))  # the rest has just ended

    # -- what it does now

    def _switch(self, ring: str, route: Route) -> None:
        """Makes the running map that of the file, and has it read back."""

        def attempt() -> str:
            if commands := edge_map.changes(edge_map.shown(self._socket.once(_SHOW_MAP)), ring, route):
                return self._socket.once(*commands, _SHOW_MAP)
            return ""

        said = self._socket.until(attempt, self._patience)
        left = edge_map.changes(edge_map.shown(self._socket.ask(_SHOW_MAP)), ring, route)
        if left:
            raise EngineFailure(f"the edge did not switch {ring}: {said.strip()[:300] or left[0]}", START)

    async def _take_over(self, there: ListedContainer, wanted: str, on_line: OnLine) -> None:
        servers = self._folder / _RUN / _SERVERS
        servers.unlink(missing_ok=True)  # of a reload that was cut off: containers may be elsewhere by now
        if there.status in {"exited", "created"}:
            on_line(f"{there.name} is {there.status}: starting it")
            await self._engine.call(partial(_start, there.id))
        elif there.status == "running":
            now = await run_sync(self._socket.until, self._description, self._patience)
            if now == wanted:
                return
            on_line(f"{there.name} takes over a new configuration")
            # Without them it would have nowhere to send requests to until the DNS has answered.
            durable.replace(servers, (await run_sync(self._socket.ask, "show servers state")).encode())
            await self._engine.call(partial(_reload, there.id))
        try:
            await run_sync(self._socket.until, lambda: self._description() == wanted or None, self._patience)
        finally:
            servers.unlink(missing_ok=True)

    def _description(self) -> str | None:
        return described(self._socket.once("show info"))

    # -- its files

    def _read_map(self) -> dict[str, Route]:
        raw = durable.read_bytes(self._folder / _MAP) or b""
        try:
            return edge_map.map_read(raw.decode())
        except ValueError as error:
            raise StateUnreadable(
                f"{self._folder / _MAP} cannot be understood: {error}",
                "Correct the line, or remove the file: `ring-ctl up shared` then writes what is recorded.",
            ) from error

    def _write_map(self, routes: Mapping[str, Route]) -> None:
        data = edge_map.map_text(routes).encode()
        if durable.read_bytes(self._folder / _MAP) != data:
            durable.replace(self._folder / _MAP, data)

    async def _check(self, there: ListedContainer, text: str) -> None:
        """By the HAProxy that will run with it: another version may see it differently. In a container that is there
        for nothing else: one that is stopped runs no programs, and not everybody may have one run in another.
        """
        candidate = self._folder / _CANDIDATE
        durable.replace(candidate, text.encode())
        try:
            code, said = await self._engine.call(partial(_checked, there, self._folder.resolve()))
        finally:
            candidate.unlink(missing_ok=True)
        if code != 0:
            why = [line for line in said.splitlines() if line.startswith("[ALERT]")] or said.splitlines()
            raise ConfigInvalid(
                f"HAProxy refuses the edge's new configuration: {' | '.join(why[:3])[:500]}",
                "The one before stays. Correct `edge`, `fronts` and `hostnames` in rings.yaml, then repeat.",
            )

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        """One at a time, across processes: all rings share the map."""
        durable.folder(self._folder / _RUN)
        lock = durable.locked(self._folder / _LOCK)
        await run_sync(lock.__enter__)
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    # -- its container

    async def _container(self, on_line: OnLine) -> ListedContainer | None:
        """None also for one that was started with other files, as by hand: the backbone's next start changes it."""
        backbone, edge = self._settings.backbone, self._settings.edge
        if backbone is None or edge is None:
            return None
        found = await self._engine.listed(backbone.project)
        one = next((one for one in found if one.service == edge.service), None)
        if one is None:
            return None
        where = await self._engine.call(partial(_mounted, one.id))
        if where is not None and Path(where).resolve() == self._folder.resolve():
            return one
        on_line(f"{one.name} runs with the files in {where}, not with ours: `ring-ctl up shared` gives it these")
        return None


class NoEdge:
    """Where rings.yaml has none: rings have one slot, and publish their own ports."""

    async def prepare(self, recorded: Mapping[str, Slot], on_line: OnLine) -> None:
        pass

    async def route(self, ring: str, route: Route) -> None:
        pass

    async def routes(self) -> Mapping[str, Route]:
        return {}

    async def unreached(self, ring: str, slot: Slot) -> tuple[str, ...]:
        return ()

    async def traffic(self, ring: str) -> Mapping[Slot, Traffic]:
        return {}

    async def open(self, ring: str, slot: Slot, service: str | None = None) -> int:
        return 0


def _start(container: str, api: Any) -> None:
    api.start(container)


def _reload(container: str, api: Any) -> None:
    api.kill(container, "SIGUSR2")


def _checked(there: ListedContainer, folder: Path, api: Any) -> tuple[int, str]:
    """What `haproxy -c` says to the candidate, as the edge would: by its image, as its user, with its names."""
    from docker.types import Mount

    like = api.inspect_container(there.id)
    # One that is stopped has no network to look into, and its name there is all that is looked up.
    network: dict[str, Any] = {"network_mode": f"container:{there.id}"}
    if there.status != "running":
        network = {"network_mode": "none", "extra_hosts": {FRONT: "127.0.0.1"}}
    made = api.create_container(
        like["Image"],
        ["-c", "-f", f"{INSIDE}/{_CANDIDATE}"],
        entrypoint=["haproxy"],
        user=like["Config"]["User"],
        labels={LABEL_CHECK: there.name},
        host_config=api.create_host_config(
            mounts=[Mount(INSIDE, str(folder), type="bind", read_only=True)],
            cap_add=like["HostConfig"]["CapAdd"],
            cap_drop=["ALL"],
            **network,
        ),
    )["Id"]
    try:
        api.start(made)
        code = api.wait(made)["StatusCode"]
        return code, api.logs(made).decode(errors="replace")
    finally:
        api.remove_container(made, force=True, v=True)


def _mounted(container: str, api: Any) -> str | None:
    mounts = api.inspect_container(container)["Mounts"]
    return next((mount["Source"] for mount in mounts if mount["Destination"] == INSIDE), None)
