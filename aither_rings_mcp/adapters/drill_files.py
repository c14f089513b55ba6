"""What a drill's site is made of: its rings.yaml, its Compose files, and images of nothing but tiny programs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from aither_rings_mcp.adapters.tiny_program import exits, waits, waits_then_exits
from aither_rings_mcp.domain.drill import Ware

_SERVICES = ("web", "side")
#: Long enough for a promotion to end before, also on a busy machine.
_LATE_S = 5.0
_WAITS, _EXITS, _ENDS = "/waits", "/exits", "/ends"
#: What the image of each says of itself, as the lines of a Dockerfile.
INSTRUCTIONS: Mapping[Ware, tuple[str, ...]] = {
    Ware.GOOD: (f'CMD ["{_WAITS}"]',),
    Ware.CRASH_LOOP: (f'CMD ["{_EXITS}"]',),
    Ware.NEVER_HEALTHY: (f'CMD ["{_WAITS}"]', f'HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD ["{_EXITS}"]'),
    Ware.LATE: (f'CMD ["{_ENDS}"]',),
}


def compose(app: str, ring: str) -> dict[str, Any]:
    """The Compose file of a ring: no ports, no network, no rights."""
    service: dict[str, Any] = {
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "user": "65534:65534",
        "restart": "on-failure",
        "stop_grace_period": "0s",
    }
    if ring == "dev":  # where whatever is shipped is well: it goes bad in prod
        service |= {"command": [_WAITS], "healthcheck": {"disable": True}}
    return {"services": {name: {**service, "image": f"{app}-{name}:{ring}-latest"} for name in _SERVICES}}


def rules(app: str, projects: Mapping[str, str]) -> dict[str, Any]:
    """rings.yaml: everything at a quick pace."""
    rings: dict[str, dict[str, Any]] = {
        ring: {"kind": "runtime", "project": project, "compose": [f"{ring}.yml"]} for ring, project in projects.items()
    }
    rings["dev"]["build"] = True
    return {
        "version": 1,
        "app": app,
        "services": {name: {"critical": name == "web"} for name in _SERVICES},
        "rings": rings,
        "paths": [{"source": "dev", "target": "prod"}],
        "rollback": {
            "profile": "fast", "poll": "500ms", "suspect_poll": "200ms", "unhealthy_for": "2s", "dead_for": "2s",
        },
        "limits": {
            "healthy": "3s", "healthy_window": "400ms", "poll": "100ms", "engine": "10s", "up": "30s", "down": "30s",
        },
    }  # fmt: skip


def file_system(architecture: str) -> bytes | None:
    """All that is in an image, as the archive that the engine imports; None for an architecture without programs."""
    programs = {
        _WAITS: waits(architecture),
        _EXITS: exits(architecture, 1),
        # with 0: what a restart policy takes for a proper end, so that it stays down
        _ENDS: waits_then_exits(architecture, _LATE_S, 0),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, program in programs.items():
            if program is None:
                return None
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(program), 0o755
            tar.addfile(entry, io.BytesIO(program))
    return archive.getvalue()
