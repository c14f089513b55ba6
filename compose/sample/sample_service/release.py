"""What this release changes: the module `change`, absent from a clean checkout, copied into the image when there."""

try:
    from . import change
except ImportError:
    change = None

FAULT = getattr(change, "FAULT", "ok")
NOTE = getattr(change, "NOTE", "")


def changeable(function):
    """Mark a function that a release may change: the version in `change`, if it has one, takes its place."""
    return getattr(change, function.__name__, function)
