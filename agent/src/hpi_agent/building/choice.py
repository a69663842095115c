"""How a worker comes to the engine of a model: the decision of the store, else the order of the knowledge table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpi_agent.building.placement import engine_request, read_built
from hpi_agent.building.resolution import Resolution, resolve
from hpi_agent.building.site import Site
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_agent.engines.shelf import Attempt, Choice, Loaded, Rejected, State
from hpi_agent.models.assemble import AssembledModel
from hpi_agent.pipelines.effective import Effective, ModelUse
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Decision, Outcome, Verdict, read_decision
from hpi_agent.select.wish import Wish
from hpi_core.api.v1alpha1.pipeline import Build
from hpi_core.errors import EngineFailed, Refused

Stamp = tuple[int, int, int] | None


class EngineChooser:
    """Chooses for the models of one worker.

    Attributes:
        stamps: What the decisions looked like when they were read, by model name; a later change means a new choice.
    """

    def __init__(
        self,
        site: Site,
        build: Build,
        plan: Effective,
        models: tuple[AssembledModel, ...],
        *,
        looks_in_store: bool,
    ) -> None:
        self.stamps: dict[str, Stamp] = {}
        self._site = site
        self._build = build
        self._models: Mapping[Path, tuple[ModelUse, AssembledModel]] = {
            model.directory: (use, model) for use, model in zip(plan.models, models, strict=True)
        }
        self._looks_in_store = looks_in_store

    def choose(self, model_name: str, directory: Path, wish: Wish) -> Choice:
        """Return the ways to serve a model, best first."""
        use, model = self._models[directory]
        resolution = resolve(use, model, wish, self._build, self._site)
        decision = None
        if self._looks_in_store:
            # Before it is read: a change in between is then seen as one.
            self.stamps[model_name] = self._site.store.decision_stamp(resolution.key)
            decision = find_decision(resolution)
        return choice_of(resolution, decision, fallback_allowed=self._build.fallback == "Allowed")


def find_decision(resolution: Resolution) -> Decision | None:
    """Return what was decided before, or None; a decision of another release is none."""
    written = resolution.site.store.read_decision(resolution.key)
    if written is None:
        return None
    try:
        return read_decision(written)
    except Refused:
        return None


def choice_of(resolution: Resolution, decision: Decision | None, *, fallback_allowed: bool) -> Choice:
    """Return the ways to serve a model: what was decided, then what loads without a build.

    A decision that holds for other drivers than that of this machine, and is not verified under it, counts as none. An
    engine that computes on the processors where another device was asked for is a fallback, measured or not.
    """
    unverified = decision is not None and not resolution.is_verified(decision)
    decision = None if unverified else decision
    chosen = None if decision is None else decision.chosen
    attempts = []
    state: State = "Unmeasured"
    rejected = [_rejected(outcome) for outcome in resolution.candidates.excluded]
    verdicts: dict[Candidate, Verdict] = {}
    if decision is not None:
        verdicts = {outcome.candidate: outcome.verdict for outcome in decision.outcomes}
        rejected = [_rejected(one) for one in decision.outcomes if one is not chosen]
        if chosen is None:
            state = "Fallback"
    if decision is not None and chosen is not None:
        state = "Measured" if decision.provisional is None else "Provisional"
        state = state if chosen.candidate.instead_of is None else "Fallback"
        attempts.append(_from_store(resolution, chosen))
    # What the gate refused must not serve because it happens to load. What crashed, hung or ran out of memory comes
    # last: the cause may have been the limits of the build, and a model that nothing else runs is tried with it.
    others = [candidate for candidate in resolution.candidates.serve_now if verdicts.get(candidate) != "OutOfTolerance"]
    others.sort(key=lambda candidate: verdicts.get(candidate) == "Failed")
    if state == "Unmeasured" and others and others[0].instead_of is not None:
        state = "Fallback"
    for candidate in others:
        if chosen is None or candidate != chosen.candidate:
            attempts.append(_from_file(resolution, candidate, state, unverified=unverified))
    if not fallback_allowed:
        attempts = attempts[:1]
    return Choice(tuple(attempts), tuple(rejected), state, resolution.key)


def _rejected(outcome: Outcome) -> Rejected:
    return Rejected(outcome.candidate.name, outcome.reason, tried=outcome.verdict in ("Failed", "OutOfTolerance"))


def _from_store(resolution: Resolution, chosen: Outcome) -> Attempt:
    def load() -> Loaded:
        key = chosen.engine_key
        if key is None or not chosen.candidate.has_built_form:
            return Loaded(load_engine(_request(resolution, chosen.candidate, None)))
        entry = resolution.site.store.open("engines", key)
        if entry is None:
            raise EngineFailed(f"the engine {key} is not in the store any more, or was damaged; it is built again")
        try:
            engine = load_engine(_request(resolution, chosen.candidate, read_built(entry)))
        except BaseException:
            entry.close()
            raise
        # Held for as long as the engine serves: what is in use is never collected.
        return Loaded(engine, entry.close)

    return Attempt(chosen.candidate.name, chosen.reason, load, chosen.engine_key)


def _from_file(resolution: Resolution, candidate: Candidate, state: State, *, unverified: bool) -> Attempt:
    def load() -> Loaded:
        return Loaded(load_engine(_request(resolution, candidate, None)))

    reasons = {
        "Unmeasured": resolution.unverified_reason if unverified else resolution.order_reason,
        "Fallback": "stands in: every candidate that was built failed",
    }
    reason = reasons.get(state, "stands in: the chosen engine could not be loaded")
    if candidate.instead_of is not None:
        reason = f"stands in for the {candidate.instead_of}: nothing that computes there could be loaded"
    return Attempt(candidate.name, reason, load)


def _request(resolution: Resolution, candidate: Candidate, built: bytes | None) -> EngineRequest:
    interpreter = resolution.site.interpreter_of(candidate)
    return engine_request(
        candidate, resolution.model_path(candidate), interpreter, resolution.placement(candidate), built
    )
