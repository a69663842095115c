"""The engines of one process: which one serves each model, what was asked and obtained, why, and the change-over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from hpi_agent.engines.base import Engine, TensorSpec
from hpi_agent.select.wish import Wish, read_wish
from hpi_core.errors import EngineFailed, HpiError, Refused

__all__ = ["Attempt", "Choice", "Loaded", "Rejected", "Shelf", "Shelved", "State", "Usage", "Wish", "read_wish"]

State = Literal["Measured", "Provisional", "Unmeasured", "Fallback"]
"""Measured: chosen by measurement on this class of hardware. Provisional: the same under load of others, to be
repeated. Unmeasured: the order of the knowledge table. Fallback: what was chosen first could not be loaded."""


@dataclass(frozen=True)
class Rejected:
    """A way to serve the model that was considered first and does not serve."""

    backend: str
    reason: str
    tried: bool = True
    """False: it was left out before anybody tried it."""


@dataclass(frozen=True)
class Loaded:
    """An engine and what has to be given back when it is closed."""

    engine: Engine
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Attempt:
    """One way to serve a model, not tried yet."""

    name: str
    """How people call it: `openvino`, `paddle mkldnn`."""
    reason: str
    """Why it is tried at this place of the order."""
    load: Callable[[], Loaded]
    """Loads it; raises HpiError when that fails."""
    engine_key: str | None = None
    """Name of the engine in the store; None when it is made from the model file."""


@dataclass(frozen=True)
class Choice:
    """The ways to serve one model, in the order to try them."""

    attempts: tuple[Attempt, ...]
    rejected: tuple[Rejected, ...] = ()
    state: State = "Unmeasured"
    decision_key: str | None = None
    """Name of the decision that the choice comes from, or would come from once there is one."""


Chooser = Callable[[str, Path, Wish], Choice]
"""Returns the ways to serve a model by its name, its directory and what the user asks of its engine."""


@dataclass
class Usage:
    """How much one model has been used, counted by the one thread that uses it."""

    calls: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Shelved:
    """One loaded model and how it came to its engine."""

    model_name: str
    directory: Path
    engine: Engine
    wish: Wish
    name: str
    reason: str
    state: State
    rejected: tuple[Rejected, ...]
    load_seconds: float
    engine_key: str | None = None
    decision_key: str | None = None
    release: Callable[[], None] = field(default=lambda: None, compare=False)
    usage: Usage = field(default_factory=Usage, compare=False)

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once and count it; see `Engine.infer`."""
        started = time.perf_counter()
        outputs = self.engine.infer(feeds)
        self.usage.seconds += time.perf_counter() - started
        self.usage.calls += 1
        return outputs

    def close(self) -> None:
        """Free the engine and give back what it held in the store."""
        self.engine.close()
        self.release()


@dataclass
class Shelf:
    """All engines of one process, by model name.

    Attributes:
        choose: Returns the ways to serve a model.
        turn: Held while a request is answered; a change-over waits for it, so that no request meets two engines.
    """

    choose: Chooser
    turn: threading.Lock = field(default_factory=threading.Lock)
    _shelved: dict[str, Shelved] = field(default_factory=dict)

    def put(self, model_name: str, directory: Path, wish: Wish) -> Shelved:
        """Load a model in the first way that works, and keep it under its name.

        A model that is used twice in a pipeline is loaded once when both uses wish the same.

        Raises:
            Refused: The same model is wished in two ways: one name could not say which engine answers.
            EngineFailed: No allowed way works; every reason is in the text.
        """
        known = self._shelved.get(model_name)
        if known is not None:
            if (known.directory, known.wish) != (directory, wish):
                raise Refused(f"model {model_name!r} is used twice with different settings: {known.wish} and {wish}")
            return known
        shelved = _load(model_name, directory, wish, self.choose(model_name, directory, wish))
        self._shelved[model_name] = shelved
        return shelved

    def renew(self, model_name: str, prove: Callable[[Shelved], None]) -> Shelved | None:
        """Choose again for a model and change over between two requests; return the new one, or None for no change.

        The old engine serves until the new one is loaded and proved, and goes on when that fails.

        Args:
            model_name: A loaded model.
            prove: Runs a real inference on the new engine; raises HpiError when its answer is no good.

        Raises:
            EngineFailed: No way of the new choice works; the old engine goes on.
        """
        old = self.get(model_name)
        choice = self.choose(model_name, old.directory, old.wish)
        if not choice.attempts or (choice.attempts[0].engine_key, choice.state) == (old.engine_key, old.state):
            return None
        if old.engine_key is not None and choice.attempts[0].engine_key == old.engine_key and old.state != "Fallback":
            # The same engine by a newer decision: measured again, in quiet this time.
            relabelled = replace(
                old, reason=choice.attempts[0].reason, state=choice.state, rejected=choice.rejected, usage=old.usage
            )
            self._shelved[model_name] = relabelled
            return relabelled
        new = _load(model_name, old.directory, old.wish, choice)
        try:
            _check_same_signature(old, new)
            prove(new)
        except BaseException:
            new.close()
            raise
        # What was counted for the model goes on; the proof is not traffic.
        new.usage.calls, new.usage.seconds = 0, 0.0
        with self.turn:
            new.usage.calls, new.usage.seconds = old.usage.calls, old.usage.seconds
            self._shelved[model_name] = new
        old.close()
        return new

    def get(self, model_name: str) -> Shelved:
        """Return a loaded model.

        Raises:
            Refused: No model of that name is loaded; the text names those that are.
        """
        if model_name not in self._shelved:
            raise Refused(f"model {model_name!r} is not served here; served: {sorted(self._shelved)}")
        return self._shelved[model_name]

    def __iter__(self) -> Iterator[Shelved]:
        return iter(list(self._shelved.values()))

    def busy_seconds(self) -> dict[str, float]:
        """Return the seconds that each model has worked since it was loaded, by model name."""
        return {name: shelved.usage.seconds for name, shelved in self._shelved.items()}

    def close(self) -> None:
        """Free every model."""
        for shelved in self._shelved.values():
            shelved.close()
        self._shelved.clear()


def _load(model_name: str, directory: Path, wish: Wish, choice: Choice) -> Shelved:
    tried: list[Rejected] = []
    for attempt in choice.attempts:
        started = time.perf_counter()
        try:
            loaded = attempt.load()
        except HpiError as error:
            tried.append(Rejected(attempt.name, str(error)))
            continue
        return Shelved(
            model_name,
            directory,
            loaded.engine,
            wish,
            attempt.name,
            attempt.reason,
            "Fallback" if tried else choice.state,
            (*choice.rejected, *tried),
            time.perf_counter() - started,
            attempt.engine_key,
            choice.decision_key,
            loaded.release,
        )
    reasons = [*choice.rejected, *tried]
    raise EngineFailed(
        f"model {model_name!r} could not be loaded: " + "; ".join(f"{one.backend}: {one.reason}" for one in reasons)
    )


def _check_same_signature(old: Shelved, new: Shelved) -> None:
    def shape_of(specs: tuple[TensorSpec, ...]) -> list[tuple[str, str, int]]:
        return [(spec.name, spec.dtype, len(spec.shape)) for spec in specs]

    before, after = old.engine, new.engine
    if (shape_of(before.inputs), shape_of(before.outputs)) != (shape_of(after.inputs), shape_of(after.outputs)):
        raise EngineFailed(
            f"model {old.model_name!r}: {new.name} declares {shape_of(after.inputs)} → {shape_of(after.outputs)}, "
            f"{old.name} serves {shape_of(before.inputs)} → {shape_of(before.outputs)}; the serving engine stays"
        )
