"""The Docker API: observe, tag, read logs. Calls run in threads with a limiter of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, cast, get_args
from urllib.parse import urlencode

import anyio
import anyio.to_thread

from aither_rings_mcp.adapters.engine_socket import asked, engine_socket, refused, unavailable
from aither_rings_mcp.domain.errors import ImageMissing, RingError
from aither_rings_mcp.domain.health import ContainerView, Healthcheck, ListedContainer
from aither_rings_mcp.ports import EngineFacts, Images, ImageView, NamedImage

T = TypeVar("T")
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_HEALTHS = get_args(Healthcheck)
#: In the list, health is part of how long a container is up: `Up 5 seconds (health: starting)`.
_HEALTH = re.compile(rf"\((?:health: )?({'|'.join(_HEALTHS)})\)\Z")


class DockerEngine:
    """Talks to the engine that the environment names (DOCKER_HOST), as the docker client does."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self._timeout = timeout_s
        self._client: Any = None
        self._limiter: anyio.CapacityLimiter | None = None

    async def facts(self) -> EngineFacts:
        said = await self.call(lambda api: api.version())
        return EngineFacts(version=said["Version"], architecture=said["Arch"], os=said["Os"])

    async def containers(self, project: str) -> tuple[ContainerView, ...]:
        """Every container of a Compose project, stopped ones included, by service name.

        Looked at side by side: the engine answers for a container only once it has started or stopped it, which takes
        a second each while a whole ring crash-loops.
        """
        listed = await self._list(project)
        if socket := engine_socket():
            raw = await asked(socket, [f"/containers/{one['Id']}/json" for one in listed], self._timeout)
            # None was removed between the list and the look
            found = [container_view(one) for one in raw if one is not None]
        else:
            found = await self._over_client(listed)
        return tuple(sorted(found, key=_by_service))

    async def listed(self, project: str) -> tuple[ListedContainer, ...]:
        """The same containers, by one question: what nobody asks each of them for, also while they start or stop."""
        return tuple(sorted(map(listed_container, await self._list(project)), key=_by_service))

    async def _list(self, project: str) -> Sequence[Mapping[str, Any]]:
        return await self.with_labels(f"{PROJECT_LABEL}={project}", f"{_ONE_OFF}=False")

    async def with_labels(self, *labels: str, stopped: bool = True) -> Sequence[Mapping[str, Any]]:
        """What the engine lists of the containers that have all of these labels; not only of those that run, unless
        told so.
        """
        filters = {"label": [*labels]}
        if socket := engine_socket():
            asks = urlencode({"all": int(stopped), "filters": json.dumps(filters)})
            (listed,) = await asked(socket, [f"/containers/json?{asks}"], self._timeout)
            return listed
        return await self.call(lambda api: api.containers(all=stopped, filters=filters), abandon=True)

    async def _over_client(self, listed: Sequence[Mapping[str, Any]]) -> Sequence[ContainerView]:
        found: list[ContainerView] = []
        failed: list[RingError] = []

        async def look(container: str) -> None:
            try:
                found.extend(await self.call(partial(_looked_at, container), abandon=True))
            except RingError as error:  # a task group would wrap it
                failed.append(error)

        async with anyio.create_task_group() as group:
            for one in listed:
                group.start_soon(look, one["Id"])
        if failed:
            raise failed[0]
        return found

    async def image(self, reference: str) -> ImageView | None:
        def look(api: Any) -> ImageView | None:
            try:
                return image_view(api.inspect_image(reference))
            except _not_found():
                return None

        return await self.call(look)

    async def tag(self, image_id: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")

        def put(api: Any) -> None:
            try:
                api.tag(image_id, repository, tag, force=True)
            except _not_found():
                raise image_gone(image_id) from None

        await self.call(put)

    async def images(self) -> Images:
        if socket := engine_socket():
            (listed,) = await asked(socket, ["/images/json?all=1"], self._timeout)
        else:
            listed = await self.call(lambda api: api.images(all=True))
        return Images(
            frozenset(image["Id"] for image in listed),
            tuple(
                NamedImage(reference, image["Id"], datetime.fromtimestamp(image["Created"], UTC))
                for image in listed
                for reference in image["RepoTags"] or ()
            ),
        )

    async def untag(self, reference: str) -> None:
        def drop(api: Any) -> None:
            import docker.errors

            try:
                api.remove_image(reference, noprune=True)
            except docker.errors.APIError as error:
                # 404: nobody has it any more; 409: it is the last name of an image that a container has
                if error.status_code not in {404, 409}:
                    raise

        await self.call(drop)

    async def logs(self, container_id: str, tail: int) -> tuple[str, ...]:
        raw = await self.call(lambda api: api.logs(container_id, tail=tail, timestamps=True), abandon=True)
        return tuple(cast("bytes", raw).decode(errors="replace").splitlines())

    async def health_log(self, container_id: str) -> tuple[str, ...]:
        """What Docker's own healthcheck of a container said lately, oldest first; nothing where it has none."""

        def look(api: Any) -> tuple[str, ...]:
            try:
                return health_entries(api.inspect_container(container_id))
            except _not_found():
                return ()

        return await self.call(look, abandon=True)

    async def exec(self, container_id: str, argv: Sequence[str]) -> tuple[int, str]:
        def run(api: Any) -> tuple[int, str]:
            created = api.exec_create(container_id, list(argv))
            output = cast("bytes", api.exec_start(created["Id"]))
            return api.exec_inspect(created["Id"])["ExitCode"], output.decode(errors="replace")

        return await self.call(run)

    async def call(self, work: Callable[[Any], T], *, abandon: bool = False) -> T:
        """What `work` comes to with the engine's API client, in a thread; for the other adapters of the engine.

        `abandon`: whoever stops waiting need not wait for the engine; for what changes nothing.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(8)
        return await anyio.to_thread.run_sync(self._in_thread, work, limiter=self._limiter, abandon_on_cancel=abandon)

    def _in_thread(self, work: Callable[[Any], T]) -> T:
        import docker.errors
        import requests

        try:
            return work(self._api())
        except docker.errors.APIError as error:
            raise refused(error.explanation or error) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise unavailable(error) from error

    def _api(self) -> Any:
        """One client for all threads: it keeps a pool of connections."""
        if self._client is None:
            import docker
            from docker.utils import kwargs_from_env

            self._client = docker.APIClient(
                version="auto", timeout=int(self._timeout), num_pools=8, **kwargs_from_env()
            )
        return self._client


def _looked_at(container: str, api: Any) -> tuple[ContainerView, ...]:
    """The container; nothing when it was removed between the list and the look."""
    try:
        return (container_view(api.inspect_container(container)),)
    except _not_found():
        return ()


def _not_found() -> type[Exception]:
    import docker.errors

    return docker.errors.NotFound


def image_gone(image: str) -> ImageMissing:
    return ImageMissing(
        f"the image {image} is not on this machine any more",
        "Deploy and promote again, or roll back to a release whose images are there (`ring-ctl status`).",
        image=image,
    )


def _when(text: str | None) -> datetime | None:
    """An engine's timestamp; its zero time (0001-01-01) means never."""
    if not text or text.startswith("0001-"):
        return None
    # nanoseconds are more than datetime reads
    head, _, tail = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{tail[:6] or '0'}+00:00")


def _part(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A part of an inspection that is null where the engine has nothing to say."""
    return cast("dict[str, Any] | None", raw.get(key)) or {}


def _by_service(container: ListedContainer) -> tuple[str, str]:
    return container.service, container.name


def _addresses(raw: Mapping[str, Any]) -> dict[str, str]:
    """Network name -> address, of those that the container has one in."""
    networks = _part(_part(raw, "NetworkSettings"), "Networks")
    return {name: network["IPAddress"] for name, network in networks.items() if network["IPAddress"]}


def listed_container(raw: Mapping[str, Any]) -> ListedContainer:
    """An entry of the engine's list as a value."""
    labels = _part(raw, "Labels")
    health = _HEALTH.search(raw["Status"])
    return ListedContainer(
        id=raw["Id"],
        # others may have a name of their own for it, as of old links: "/other/alias"
        name=min(raw["Names"], key=lambda name: name.count("/")).lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        project=labels.get(PROJECT_LABEL, ""),
        image_id=raw["ImageID"],
        status=raw["State"],
        health=_health(raw["State"], health and health[1]),
        addresses=_addresses(raw),
        labels=labels,
    )


def _health(status: str, word: str | None) -> Healthcheck | None:
    """Of one that does not run, an inspection still has the last word and the list has none."""
    return cast("Healthcheck", word) if status == "running" and word in _HEALTHS else None


def _port(name: str) -> int:
    return int(name.partition("/")[0])


def container_view(raw: Mapping[str, Any]) -> ContainerView:
    """An inspected container as a value."""
    state, labels = raw["State"], _part(raw["Config"], "Labels")
    return ContainerView(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        project=labels.get(PROJECT_LABEL, ""),
        image_id=raw["Image"],
        status=state["Status"],
        health=_health(state["Status"], _part(state, "Health").get("Status")),
        exit_code=state.get("ExitCode") or 0,
        restarts=raw.get("RestartCount") or 0,
        started_at=_when(state.get("StartedAt")),
        finished_at=_when(state.get("FinishedAt")),
        addresses=_addresses(raw),
        published={
            _port(name): (bound[0]["HostIp"] or "127.0.0.1", int(bound[0]["HostPort"]))
            for name, bound in _part(_part(raw, "NetworkSettings"), "Ports").items()
            if bound and name.endswith("/tcp")
        },
        labels=labels,
    )


def health_entries(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The healthcheck log of an inspected container: when, exit code, and what it wrote."""
    entries = cast("Sequence[Mapping[str, Any]]", _part(raw["State"], "Health").get("Log") or ())
    return tuple(
        f"{entry.get('Start')} exit code {entry.get('ExitCode')}: {str(entry.get('Output') or '').rstrip()}"
        for entry in entries
    )


def image_view(raw: Mapping[str, Any]) -> ImageView:
    """An inspected image as a value."""
    config = _part(raw, "Config")
    return ImageView(
        id=raw["Id"],
        architecture=raw.get("Architecture") or "",
        os=raw.get("Os") or "",
        labels=_part(config, "Labels"),
        size=raw.get("Size") or 0,
        ports=tuple(_port(name) for name in _part(config, "ExposedPorts")),
    )
