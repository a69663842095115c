"""Engines and decisions in the stores of pods, made up without a build, and what of them is in a store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Decision, Outcome
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json

CANDIDATE: Final = Candidate("openvino", "float32", 2)
BUILT: Final = bytes(range(256)) * 4_096
"""A megabyte that compresses to nothing and has every byte."""


@dataclass(frozen=True)
class MadeUp:
    """One decision in a store, with its engine."""

    store: Store
    decision: Decision

    @property
    def key(self) -> str:
        """Of the decision."""
        return self.decision.key

    @property
    def engine(self) -> str:
        """Key of the chosen engine."""
        chosen = self.decision.chosen
        assert chosen is not None
        assert chosen.engine_key is not None
        return chosen.engine_key


def engine_document(name: str = "tiny") -> dict[str, Any]:
    """Return what shapes a made-up engine."""
    return {"formatVersion": 1, "model": name}


def publish_engine(store: Store, name: str = "tiny", built: bytes = BUILT) -> str:
    """Publish an engine; return its key."""
    document = engine_document(name)
    key = digest_of_json(document)

    def write(directory: Path) -> None:
        (directory / "engine.json").write_text("{}", encoding="utf-8")
        (directory / "engine.bin").write_bytes(built)

    store.publish("engines", key, write, about={"model": name, "engine": "openvino", "key": document})
    return key


def a_decision(name: str = "tiny", **fields: Any) -> Decision:
    """Return a decision for the engine of that name."""
    chosen = Outcome(CANDIDATE, "Chosen", "the fastest", digest_of_json(engine_document(name)))
    decision = Decision({"model": name}, (chosen,), None, None, "2026-11-27T00:00:00Z", 12.0)
    return replace(decision, **fields)


def decide(root: Path, name: str = "tiny", built: bytes = BUILT, **fields: Any) -> MadeUp:
    """Publish an engine and the decision for it."""
    store = Store(root)
    publish_engine(store, name, built)
    decision = a_decision(name, **fields)
    store.write_decision(decision.key, decision.to_json())
    return MadeUp(store, decision)


def built_bytes(store: Store, key: str) -> bytes | None:
    """Return the built form of an engine, checked; None: there is none."""
    entry = store.open("engines", key)
    if entry is None:
        return None
    with entry:
        return entry.read("engine.bin", 2**30)
