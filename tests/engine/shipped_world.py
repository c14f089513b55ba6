"""What we ship, as we ship it: compose/ and rings.yaml, made unique by their own variables and names only."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

import docker
from worlds import REPO, World, copied_sample, free_port

#: ring -> variable -> the port that is shipped
PORTS = {
    "dev": {"GENESIS_PORT": 8001, "VEIL_PORT": 3000, "NODE_PORT": 8080},
    "prod": {"GENESIS_PORT": 9001, "VEIL_PORT": 3001, "NODE_PORT": 9080},
}
PROJECTS = ("shared", "dev", "prod", "preview")


class ShippedWorld(World):
    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        self.namespace = f"ship{token}"
        super().__init__(engine, root, token, {name: f"{self.namespace}-{name}" for name in PROJECTS})
        copied_sample(root)
        for file in REPO.glob("compose/*.yml"):
            shutil.copy(file, root / "compose")
        for file in REPO.glob("compose/.env.*"):
            shutil.copy(file, root / "compose")
        rules = (REPO / "rings.yaml").read_text()
        rules, renamed = re.subn(r"\baither-(?=shared|dev|prod|preview)", f"{self.namespace}-", rules)
        rules, named = re.subn(r"^app: aitheros$", f"app: {self.app}", rules, flags=re.M)
        assert (renamed, named) == (7, 1), "rings.yaml names its projects and networks in another way now"
        for ring, ports in PORTS.items():
            chosen = {variable: free_port() for variable in ports}
            self.set(f".env.{ring}", AITHER_NS=self.namespace, AITHER_APP=self.app, **chosen)
            rules = rules.replace(f"127.0.0.1:{ports['GENESIS_PORT']}", f"127.0.0.1:{chosen['GENESIS_PORT']}")
        self.set(".env.shared", AITHER_NS=self.namespace)
        self.config.write_text(rules)
