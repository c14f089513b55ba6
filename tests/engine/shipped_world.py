"""What we ship, as we ship it: compose/ and rings.yaml, made unique by their own variables and names only."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

import docker
from worlds import REPO, World, copied_sample, free_port

#: variable of .env.shared -> the port of the edge that is shipped
PORTS = {
    "DEV_GENESIS_PORT": 8001,
    "DEV_VEIL_PORT": 3000,
    "DEV_NODE_PORT": 8080,
    "PROD_GENESIS_PORT": 9001,
    "PROD_VEIL_PORT": 3001,
    "PROD_NODE_PORT": 9080,
}
PROJECTS = ("shared", "dev", "prod", "prod-green", "preview")


class ShippedWorld(World):
    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        self.namespace = f"ship{token}"
        super().__init__(engine, root, token, {name: f"{self.namespace}-{name}" for name in PROJECTS})
        copied_sample(root)
        for file in REPO.glob("compose/*.yml"):
            shutil.copy(file, root / "compose")
        shutil.copytree(REPO / "compose/edge", root / "compose/edge", ignore=shutil.ignore_patterns("run"))
        for file in REPO.glob("compose/.env.*"):
            shutil.copy(file, root / "compose")
        rules = (REPO / "rings.yaml").read_text()
        rules, renamed = re.subn(r"\baither-(?=shared|dev|prod|preview)", f"{self.namespace}-", rules)
        rules, named = re.subn(r"^app: aitheros$", f"app: {self.app}", rules, flags=re.M)
        assert (renamed, named) == (9, 1), "rings.yaml names its projects and networks in another way now"
        #: variable -> the port on which this world's edge is reached
        self.edge_ports = {variable: free_port() for variable in PORTS}
        for ring in ("dev", "prod"):
            self.set(f".env.{ring}", AITHER_NS=self.namespace, AITHER_APP=self.app)
            variable = f"{ring.upper()}_GENESIS_PORT"
            rules = rules.replace(f"127.0.0.1:{PORTS[variable]}", f"127.0.0.1:{self.edge_ports[variable]}")
        self.set(".env.shared", AITHER_NS=self.namespace, **self.edge_ports)
        self.config.write_text(rules)
