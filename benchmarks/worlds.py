"""The installation that is measured: what we ship, under names and ports of its own, all of it gone again afterwards.

The worlds of the engine's tests make it, so that names, ports and the cleaning up have one home.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests/engine"))

from private_engine import PrivateEngine  # noqa: E402
from shipped_world import ShippedWorld  # noqa: E402
from worlds import free_port, local_images, wait_for  # noqa: E402

__all__ = [
    "REPO",
    "BenchWorld",
    "PrivateEngine",
    "bench_world",
    "free_port",
    "local_images",
    "tag_of",
    "wait_for",
]


class BenchWorld(ShippedWorld):
    """The shipped sample with one more variable in prod's environment: with another value it is another release.

    `staged` is the fault of the release that waits in staging. The images of every release that was staged stay
    as `<app>-<service>:<name of the fault>`, for contenders that know no staging.
    """

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        super().__init__(engine, root)
        # whatever else comes to run here is removed with the rest
        self.projects = {**self.projects, "hand": f"{self.namespace}-hand"}
        file = root / "compose/docker-compose.ring-prod.yml"
        text = file.read_text()
        with_setting = text.replace("AITHER_RING: prod\n", "AITHER_RING: prod\n    SETTING: ${SETTING:-}\n")
        assert with_setting != text, "prod's Compose file tells its ring in another way now"
        file.write_text(with_setting)
        self._releases = 0
        self.staged = ""

    def begin(self) -> None:
        """The backbone is up, and prod runs a good release."""
        self.arrange("up", "shared")
        self.stage("ok")
        self.arrange("promote", "staging", "prod")

    def stage(self, fault: str) -> None:
        """A release with `fault` runs in dev and waits in staging."""
        if self.staged == fault:
            return
        said = self.release(fault)
        assert said.code == 0, said
        for service in self.ports():
            image = self.engine.images.get(f"{self.app}-{service}:dev-latest")
            image.tag(f"{self.app}-{service}", tag_of(fault))
        self.arrange("promote", "dev", "staging")
        self.staged = fault

    def next_name(self) -> str:
        """A name that no release had yet."""
        self._releases += 1
        return f"r{self._releases}"

    def front(self) -> tuple[str, ...]:
        """Where the users of prod knock: the addresses that stay the same whatever runs behind them."""
        return tuple(f"http://127.0.0.1:{port}/" for name, port in self.edge_ports.items() if name.startswith("PROD"))


def tag_of(fault: str) -> str:
    """The image tag for a fault."""
    return fault.replace(":", "-")


@contextmanager
def bench_world() -> Iterator[BenchWorld]:
    """A world that runs, and is removed at the end."""
    engine = docker.from_env()
    with tempfile.TemporaryDirectory(prefix="rings-bench-") as folder:
        world = BenchWorld(engine, Path(folder))
        try:
            world.begin()
            yield world
        finally:
            world.remove()
            engine.close()
