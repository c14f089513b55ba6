"""Many who ask the same at once share looks, and nobody gets an answer older than the question."""

from __future__ import annotations

import asyncio

import pytest

from aither_rings_mcp.domain.errors import DockerUnavailable, RingError
from aither_rings_mcp.manager.shared_looks import SharedLooks


class Engine:
    """Answers with the number of the look, each when the test says so."""

    def __init__(self) -> None:
        self.looks = 0
        self.goes_on = asyncio.Semaphore(0)
        self.fault: Exception | None = None

    async def look(self) -> int:
        self.looks += 1
        number = self.looks
        await self.goes_on.acquire()
        if self.fault:
            raise self.fault
        return number


@pytest.fixture
def looks() -> SharedLooks:
    return SharedLooks()


async def asked(looks: SharedLooks, engine: Engine, times: int = 1, what: str = "status") -> list[asyncio.Task[int]]:
    """Questions that have been asked, and wait."""
    tasks = [asyncio.create_task(looks.shared(what, engine.look)) for _ in range(times)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_who_asks_during_a_look_shares_the_next(looks: SharedLooks) -> None:
    engine = Engine()
    (first,) = await asked(looks, engine)
    crowd = await asked(looks, engine, 50)
    engine.goes_on.release()
    assert await first == 1
    late = await asked(looks, engine, 2)
    engine.goes_on.release()
    assert await asyncio.gather(*crowd) == [2] * 50
    engine.goes_on.release()
    assert await asyncio.gather(*late) == [3, 3]
    (later,) = await asked(looks, engine)
    engine.goes_on.release()
    assert await later == 4, "an old answer"


async def test_different_questions_do_not_wait_for_each_other(looks: SharedLooks) -> None:
    engine = Engine()
    (status,), (health,) = await asked(looks, engine), await asked(looks, engine, what="health")
    assert engine.looks == 2
    engine.goes_on.release()
    engine.goes_on.release()
    assert sorted(await asyncio.gather(status, health)) == [1, 2]


async def test_an_error_is_shared_and_not_kept(looks: SharedLooks) -> None:
    engine = Engine()
    engine.fault = DockerUnavailable("the engine does not answer", "Start it.")
    (first,) = await asked(looks, engine)
    crowd = await asked(looks, engine, 10)
    for _ in range(2):
        engine.goes_on.release()
    ends = await asyncio.gather(first, *crowd, return_exceptions=True)
    assert all(isinstance(end, RingError) for end in ends)
    assert engine.looks == 2
    engine.fault = None
    (after,) = await asked(looks, engine)
    engine.goes_on.release()
    assert await after == 3


@pytest.mark.parametrize("what", ["cancelled", "failing"])
async def test_when_who_looks_falls_out_another_looks(looks: SharedLooks, what: str) -> None:
    engine = Engine()
    (first,) = await asked(looks, engine)
    crowd = await asked(looks, engine, 3)
    if what == "cancelled":
        first.cancel()
    else:
        engine.fault = ZeroDivisionError()
        engine.goes_on.release()
    with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
        await first
    engine.fault = None
    engine.goes_on.release()
    assert await asyncio.gather(*crowd) == [2, 2, 2]
