"""A Docker engine of a test's own, on a machine of its own: both may be killed, and the engine may be pruned.

The machine is a set of namespaces: processes, mounts and network interfaces are its own, so that nothing it does
reaches those beside it (with `--bridge=none` alone, dockerd would take `docker0` away from everybody), and when it
ends, the kernel ends and removes all of them. It ends with its standard input, so also when the tests are killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest
import requests
from docker.errors import DockerException
from worlds import wait_for

#: In which an engine that was started answers, in seconds.
_STARTS = 30
_CGROUPS = Path("/sys/fs/cgroup")
#: Says that it is up, and reaps orphans until its standard input ends.
_INIT = "echo up; cat >/dev/null; :"


class PrivateEngine:
    """dockerd with its containerd, all they keep below one folder. `url` stays the same over restarts."""

    def __init__(self) -> None:
        missing = [name for name in ("dockerd", "containerd", "unshare", "nsenter") if shutil.which(name) is None]
        if os.geteuid() != 0 or missing:
            why = f"{', '.join(missing)} not found" if missing else "not root"
            pytest.fail(f"no engine of its own for these tests: {why}. They need root and dockerd", pytrace=False)
        # short: the path of a Unix socket has room for 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="rings-engine-", dir="/tmp"))
        self.url = f"unix://{self.folder}/docker.sock"
        self._cgroup = f"rings-{secrets.token_hex(4)}"
        self._machine: subprocess.Popen[str] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None
        (self.folder / "daemon.json").write_text("{}")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Starts what was killed, on what it left behind; returns once it answers."""
        self._boot()
        for pid_file in (self.folder / "pid", self.folder / "run/containerd/containerd.pid"):
            pid_file.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._dockerd = subprocess.Popen(
                self._inside(self._argv()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for(self._answers, _STARTS, "the private engine answers")
        except AssertionError as error:
            pytest.fail(f"{error}:\n{self.log[-2000:]}", pytrace=False)

    def ensure(self) -> None:
        """Starts it, unless it runs."""
        if self._dockerd is None or self._dockerd.poll() is not None:
            self.start()

    @property
    def where(self) -> tuple[str, ...]:
        """What to put before a command that is to run on the network of its machine."""
        assert self._machine
        return ("nsenter", f"--net=/proc/{self._machine.pid}/ns/net")

    def kill(self) -> None:
        """`kill -9` of dockerd and its containerd; containers run on, as they would."""
        for process in self._daemons():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_for(lambda: not self._daemons(), 10, "the private engine is gone")
        if self._dockerd:
            self._dockerd.wait(10)

    def power_cut(self) -> None:
        """Everything on its machine ends at once, containers too; what would lie in memory is gone."""
        if self._machine is None:
            return
        with self._machine as machine:
            assert machine.stdin
            machine.stdin.close()
            machine.wait(20)  # the kernel lets it end only after all others there
        self._machine = None
        if self._dockerd:
            self._dockerd.wait(10)
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        for root in (*_CGROUPS.glob(self._cgroup), *_CGROUPS.glob(f"*/{self._cgroup}")):
            for folder, _, _ in os.walk(root, topdown=False):
                Path(folder).rmdir()

    def stop(self) -> None:
        """Ends it for good; fails if anything of it is left."""
        self.power_cut()
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.folder) in line]
        assert not mounts, mounts
        shutil.rmtree(self.folder)
        assert not self._daemons()

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.url)

    def prune(self, *words: str) -> str:
        """A real `docker ... prune`, of this engine and no other: it takes from everybody who uses it."""
        with closing(self.client()) as client:
            assert str(client.info()["DockerRootDir"]) == str(self.folder / "data"), "not the private engine"
        done = subprocess.run(
            ["docker", "--host", self.url, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _boot(self) -> None:
        if self._machine:
            return
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", _INIT]
        pipe = subprocess.PIPE
        self._machine = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        assert self._machine.stdout
        assert self._machine.stdout.readline() == "up\n", "no namespaces of its own for the private engine"

    def _inside(self, argv: list[str]) -> list[str]:
        assert self._machine
        of = f"/proc/{self._machine.pid}/ns"
        return ["nsenter", f"--net={of}/net", f"--mount={of}/mnt", f"--pid={of}/pid_for_children", *argv]

    def _argv(self) -> list[str]:
        of = self.folder
        return [
            "dockerd", "--config-file", f"{of}/daemon.json", "--host", self.url, "--pidfile", f"{of}/pid",
            "--data-root", f"{of}/data", "--exec-root", f"{of}/run",
            "--bridge=none", "--iptables=false", "--ip6tables=false",
            "--cgroup-parent", f"/{self._cgroup}", "--exec-opt", "native.cgroupdriver=cgroupfs",
        ]  # fmt: skip

    def _answers(self) -> bool:
        assert self._dockerd
        assert self._dockerd.poll() is None, "dockerd has ended"
        try:
            with closing(self.client()) as client:
                return client.ping()
        except (DockerException, requests.RequestException, OSError):
            return False

    def _daemons(self) -> list[int]:
        found: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                program, _, words = (process / "cmdline").read_text().partition("\0")
                if Path(program).name in {"dockerd", "containerd"} and f"{self.folder}/" in words:
                    found.append(int(process.name))
        return found
