"""Ways to bring a new release to the people who use a ring, all with the same Compose files and images."""
