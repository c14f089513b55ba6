"""What every value of the domain is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value; an unknown field is an error, so that a newer file is never half-understood."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
