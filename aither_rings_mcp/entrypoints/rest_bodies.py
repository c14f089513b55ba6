"""What the REST door takes in bodies. Strict: an unknown name is a refusal, as at every door."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aither_rings_mcp.entrypoints.arguments import KEY, WAITING, Reason, Text, WaitS


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _shown(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class PromoteBody(Body):
    """A promotion into the ring of the path."""

    model_config = _shown({"source": "staging"}, {"source": "staging", "plan_id": "plan-0a1b2c3d", "wait_s": 0})

    source: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="The ring to promote from.")
    plan_id: Text | None = Field(default=None, description="Do exactly this plan, or refuse if something changed.")
    dry_run: bool = Field(default=False, description="True: only say what would happen; nothing is changed.")
    force: bool = Field(default=False, description="True: go past failing gates; needs `reason`, and stays visible.")
    reason: Reason | None = Field(default=None, description="Why, in one sentence, for the history.")
    wait_s: WaitS = Field(default=45, description=WAITING)
    idempotency_key: Text | None = Field(default=None, description=KEY)


class RollbackBody(Body):
    """A way back for the ring of the path; nothing needs to be said."""

    model_config = _shown({}, {"reason": "checkout fails", "wait_s": 10})

    tag: Text | None = Field(default=None, description="Back to this tag; without it, to the last good release.")
    release: Text | None = Field(default=None, description="Back to exactly this release, instead of a tag.")
    reason: Reason | None = Field(default=None, description="Why, in one sentence, for the history.")
    dry_run: bool = Field(default=False, description="True: only say what would happen; nothing is changed.")
    wait_s: WaitS = Field(default=45, description=WAITING)
    idempotency_key: Text | None = Field(default=None, description=KEY)


class CancelBody(Body):
    model_config = _shown({"reason": "the wrong release"})

    reason: Reason = Field(description="Why, in one sentence, for the history.")


class DecisionBody(Body):
    """A person's answer to exactly one plan."""

    model_config = _shown({"plan_hash": "3f8a...", "decision": "approved", "note": "read the diff"})

    plan_hash: Text = Field(description="The hash of the plan that was read.")
    decision: Literal["approved", "rejected"] = "approved"
    note: Reason | None = Field(default=None, description="A word to whoever asked.")
