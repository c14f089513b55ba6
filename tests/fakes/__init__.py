"""A whole small world that behaves: one simulated machine behind the ports, real files for everything on disk."""
