"""Policies on the status of HPIEngines: agents decide, the operator says whether they are wanted."""

from __future__ import annotations

import json
from typing import Final

from hpi_core.api.v1alpha1.engine import EngineStatus
from hpi_core.reasons import WANTED
from hpi_operator.install.installation import Account
from hpi_operator.install.policy import Check, agent_policy, policy
from hpi_operator.kube.resources import ENGINES
from hpi_operator.plan.intent import Manifest

PROVISIONAL: Final = "Provisional"
"""Quality of a decision that nobody shares and that is taken again."""

FINAL: Final = ("chosen", "quality", "artifact")
"""What does not change any more once a decision is shared: pods run the code that these name."""

CONDITIONS: Final = "conditions"

_EMPTY: Final = EngineStatus().model_dump(mode="json", by_alias=True)
"""Every field of the status with the default that it has in the schema; None: it has none."""


def agent_engine_policy(agent: Account) -> tuple[Manifest, Manifest]:
    """Return what an agent may make of an HPIEngine's status."""
    return agent_policy(
        "hpi-agent-engines",
        agent,
        ENGINES,
        ["UPDATE"],
        [
            Check(
                "object.?status.?holder.orValue('') == variables.node",
                "the agent of node {variables.node} must name it as status.holder of HPIEngine {object.metadata.name}, "
                "not '{object.?status.?holder.orValue('')}'",
            ),
            Check(
                f"{_conditions('object')}.filter(one, one.type == '{WANTED}')"
                f" == {_conditions('oldObject')}.filter(one, one.type == '{WANTED}')",
                f"the condition {WANTED} of HPIEngine {{object.metadata.name}} is the operator's; leave it as it is",
            ),
            Check(
                f"!variables.decided || ({_unchanged(FINAL)})",
                f"HPIEngine {{object.metadata.name}} is decided: {', '.join(FINAL)} of its status do not change any "
                "more; whoever wants it decided anew deletes it",
            ),
            Check(
                "object.?status.?artifact.?key != oldObject.?status.?artifact.?key"
                " || object.?status.?artifact == oldObject.?status.?artifact",
                "the artifact of HPIEngine {object.metadata.name} was published already: of two with one key the first "
                "counts; fetch that one",
            ),
            Check(
                "object.?status.?attempts.orValue(0) >= oldObject.?status.?attempts.orValue(0)",
                "the attempts of HPIEngine {object.metadata.name} count builds: "
                "{oldObject.?status.?attempts.orValue(0)} were begun already",
            ),
        ],
        subresource="status",
        variables=[
            (
                "decided",
                f"oldObject.?status.?chosen.hasValue() && oldObject.?status.?quality.orValue('') != '{PROVISIONAL}'",
            )
        ],
    )


def operator_engine_policy(operator: Account) -> tuple[Manifest, Manifest]:
    """Return what lets the operator write the condition `Wanted` of an HPIEngine, and nothing else of its status."""
    others = tuple(field for field in _EMPTY if field != CONDITIONS)
    return policy(
        "hpi-operator-engines",
        "operator",
        operator,
        ENGINES,
        ["UPDATE"],
        [
            Check(
                f"{_conditions('object')}.filter(one, one.type != '{WANTED}')"
                f" == {_conditions('oldObject')}.filter(one, one.type != '{WANTED}')"
                f" && {_unchanged(others)}",
                f"the operator writes the condition {WANTED} of HPIEngine {{object.metadata.name}} alone; the rest of "
                "its status is the agents'",
            )
        ],
        subresource="status",
    )


def _conditions(of: str) -> str:
    return f"{of}.?status.?{CONDITIONS}.orValue([])"


def _unchanged(fields: tuple[str, ...]) -> str:
    return " && ".join(f"{_value('object', field)} == {_value('oldObject', field)}" for field in fields)


def _value(of: str, field: str) -> str:
    # The API server writes defaults into a status that was not there: they are no change.
    empty = _EMPTY[field]
    return f"{of}.?status.?{field}" + ("" if empty is None else f".orValue({json.dumps(empty)})")
