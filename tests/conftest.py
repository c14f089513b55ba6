"""What holds for every test."""

from hypothesis import settings

# On a machine that does other things as well, how long an example takes says nothing.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
