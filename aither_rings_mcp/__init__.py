"""Ring deployments on one Docker machine, operated by people and by AI agents."""

__version__ = "0.1.0"
