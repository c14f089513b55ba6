"""The built-in gates, one module each; others join through the entry point group `aither_rings.gates`."""
