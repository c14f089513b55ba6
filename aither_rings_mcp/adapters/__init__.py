"""The world: each module knows ports and domain only."""
