"""Where the platform's services listen, and how one finds another."""

import os


class AitherPorts:
    """Names and container ports, the same in every ring: only the host prefix differs."""

    SERVICES = {
        "Genesis": 8001,
        "Veil": 3000,
        "Node": 8080,
        "Secrets": 8111,
        "Strata": 8120,
        "Flux": 8121,
        "Pulse": 8122,
        "Chronicle": 8123,
        "Mind": 8124,
        "Nexus": 8125,
        "Watch": 8126,
    }

    @classmethod
    def get_port(cls, service: str) -> int:
        name = service.capitalize()
        if name not in cls.SERVICES:
            raise KeyError(f"no service {service!r}; there are {', '.join(cls.SERVICES)}")
        return cls.SERVICES[name]

    @classmethod
    def get_service_url(cls, service: str) -> str:
        """The service's base URL inside the caller's own ring."""
        prefix = os.environ.get("AITHER_SERVICE_HOST_PREFIX") or "aitheros"
        return f"http://{prefix}-{service.lower()}:{cls.get_port(service)}"
