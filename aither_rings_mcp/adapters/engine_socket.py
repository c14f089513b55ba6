"""The engine's API over its Unix socket, for looks: many at once, without a client library's cost for each."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import anyio

from aither_rings_mcp.adapters.http_wire import Answer, BrokenAnswer, get
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure

#: What the docker client takes where DOCKER_HOST says nothing.
_DEFAULT = "unix:///var/run/docker.sock"
_SCHEME = "unix://"
#: Questions under way at once. The engine answers for a container only once it has started or stopped it, which takes
#: a second each while a whole ring crash-loops.
_LANES = 16
_NOT_FOUND, _REFUSED = 404, 400


def engine_socket() -> str | None:
    """The path of the engine's Unix socket; None where DOCKER_HOST names another way."""
    host = os.environ.get("DOCKER_HOST") or _DEFAULT
    return host.removeprefix(_SCHEME) if host.startswith(_SCHEME) else None


async def asked(socket: str, paths: Sequence[str], limit_s: float) -> list[Any]:
    """What the engine says to each, parsed, in their order; None for what is not there (any more).

    Asked without a version, which is the newest that the engine has. Raises `docker_unavailable` when nobody answers
    within `limit_s` seconds, all of them together.
    """
    answers: list[Any] = [None] * len(paths)
    left = iter(enumerate(paths))
    failed: list[OSError | EngineFailure] = []

    async def lane() -> None:
        while (following := next(left, None)) is not None:
            reader, writer = await asyncio.open_unix_connection(socket)
            with closing(writer):
                while following is not None:
                    number, path = following
                    answer = await get(reader, writer, "docker", path)
                    answers[number] = _parsed(answer)
                    if not answer.reusable:
                        break
                    following = next(left, None)

    async def told() -> None:
        try:
            await lane()
        except (OSError, EngineFailure) as error:  # a task group would wrap it
            failed.append(error)
            group.cancel_scope.cancel()

    try:
        with anyio.fail_after(limit_s):
            async with anyio.create_task_group() as group:
                for _ in range(min(_LANES, len(paths))):
                    group.start_soon(told)
    except TimeoutError as error:
        failed.append(error)
    for error in failed:
        raise error if isinstance(error, EngineFailure) else unavailable(error) from error
    return answers


def unavailable(error: Exception) -> DockerUnavailable:
    """The engine that does not answer, as every door tells it."""
    return DockerUnavailable(
        f"the Docker engine does not answer ({type(error).__name__})",
        "Start it (`systemctl start docker`, or dockerd), check DOCKER_HOST, then ask again.",
    )


def refused(said: object) -> EngineFailure:
    return EngineFailure(f"the Docker engine refused: {said}", "Fix what it names, then ask again.")


def _parsed(answer: Answer) -> Any:
    if answer.status == _NOT_FOUND:
        return None
    if answer.status >= _REFUSED:
        raise refused(answer.body.decode(errors="replace").strip())
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise BrokenAnswer("the engine's answer is not JSON") from error
