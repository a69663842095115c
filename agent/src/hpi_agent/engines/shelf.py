"""The engines of one process: which backend serves which model, what was asked, what was obtained, and why."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import MAX_THREADS, Engine, EngineRequest
from hpi_core.api.manifest import did_you_mean
from hpi_core.errors import EngineFailed, HpiError, Refused
from hpi_core.formats import BACKENDS, Backend

STATIC_ORDER: Final[dict[str, tuple[Backend, ...]]] = {"x86_64": ("openvino", "onnxruntime")}
"""Which backend is tried first, by architecture, until choices are measured on the machine itself. PaddleX's own table
starts with OpenVINO for most models of `cpu_x64` (148 of 287 rows, paddlex 3.7.2) and knows no other architecture."""

ELSEWHERE: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Wish:
    """What a user asks of the engine of one model."""

    backend: Backend | None = None
    """None: the first of the static order that loads."""
    exactly: bool = False
    """Whether nothing but `backend` may serve: PaddleX's manual mode (`auto_config: false`)."""
    threads: int | None = None
    """None: the whole cores left to this process."""


@dataclass(frozen=True)
class Rejected:
    """A backend that was tried or considered first and does not serve."""

    backend: Backend
    reason: str


@dataclass
class Usage:
    """How much one engine has worked, counted by the one thread that uses it."""

    calls: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Shelved:
    """One loaded model and how it came to its engine."""

    model_name: str
    directory: Path
    engine: Engine
    wish: Wish
    reason: str
    rejected: tuple[Rejected, ...]
    load_seconds: float
    usage: Usage = field(default_factory=Usage, compare=False)

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once and count it; see `Engine.infer`."""
        started = time.perf_counter()
        outputs = self.engine.infer(feeds)
        self.usage.seconds += time.perf_counter() - started
        self.usage.calls += 1
        return outputs


@dataclass
class Shelf:
    """All engines of one process, by model name.

    Attributes:
        default_threads: Whole cores left to the process, at least 1.
        fallback_allowed: Whether a model may be served by another backend than the first choice.
        load: Loads one model; `hpi_agent.engines.registry.load_engine`, or a double in tests.
        cache_directory: Returns where a runtime may keep what it compiles for a request, or None for nowhere.
    """

    default_threads: int
    fallback_allowed: bool
    load: Callable[[EngineRequest], Engine]
    cache_directory: Callable[[EngineRequest], Path | None] = lambda _: None
    architecture: str = field(default_factory=platform.machine)
    _shelved: dict[str, Shelved] = field(default_factory=dict)

    def put(self, model_name: str, directory: Path, wish: Wish) -> Shelved:
        """Load a model on the first backend that serves it, and keep it under its name.

        A model that is used twice in a pipeline is loaded once when both uses wish the same.

        Raises:
            Refused: The same model is wished in two ways: one name could not say which engine answers.
            EngineFailed: No allowed backend can load the model; every reason is in the text.
        """
        known = self._shelved.get(model_name)
        if known is not None:
            if (known.directory, known.wish) != (directory, wish):
                raise Refused(f"model {model_name!r} is used twice with different settings: {known.wish} and {wish}")
            return known
        rejected: list[Rejected] = []
        for backend in self._candidates(wish):
            started = time.perf_counter()
            try:
                engine = self.load(self._request(directory, backend, wish))
            except HpiError as error:
                rejected.append(Rejected(backend, str(error)))
                continue
            seconds = time.perf_counter() - started
            reason = self._reason(wish, bool(rejected))
            shelved = Shelved(model_name, directory, engine, wish, reason, tuple(rejected), seconds)
            self._shelved[model_name] = shelved
            return shelved
        raise EngineFailed(
            f"model {model_name!r} could not be loaded: " + "; ".join(f"{r.backend}: {r.reason}" for r in rejected)
        )

    def _candidates(self, wish: Wish) -> tuple[Backend, ...]:
        order = STATIC_ORDER.get(self.architecture, ELSEWHERE)
        if wish.backend is None:
            return order if self.fallback_allowed else order[:1]
        if wish.exactly or not self.fallback_allowed:
            return (wish.backend,)
        return (wish.backend, *(backend for backend in order if backend != wish.backend))

    def _reason(self, wish: Wish, fell_back: bool) -> str:
        if fell_back:
            return "fall-back"
        if wish.backend is not None:
            return "asked for"
        return f"first of the static order for {self.architecture}"

    def _request(self, directory: Path, backend: Backend, wish: Wish) -> EngineRequest:
        request = EngineRequest(directory / "inference.onnx", backend, wish.threads or self.default_threads)
        return replace(request, cache_directory=self.cache_directory(request))

    def get(self, model_name: str) -> Shelved:
        """Return a loaded model.

        Raises:
            Refused: No model of that name is loaded; the text names those that are.
        """
        if model_name not in self._shelved:
            raise Refused(f"model {model_name!r} is not served here; served: {sorted(self._shelved)}")
        return self._shelved[model_name]

    def __iter__(self) -> Iterator[Shelved]:
        return iter(self._shelved.values())

    def busy_seconds(self) -> dict[str, float]:
        """Return the seconds that each engine has worked since it was loaded, by model name."""
        return {name: shelved.usage.seconds for name, shelved in self._shelved.items()}

    def close(self) -> None:
        """Free every model."""
        for shelved in self._shelved.values():
            shelved.engine.close()
        self._shelved.clear()


WISH_KEYS: Final = {"auto_config", "backend", "backend_config", "auto_paddle2onnx"}
BACKEND_CONFIG_KEYS: Final = {"cpu_num_threads"}


def read_wish(where: str, settings: dict[str, Any]) -> Wish:
    """Return the wish that PaddleX's `hpi_config` dictionary expresses.

    Args:
        where: What to call the settings in messages.
        settings: Keys of `WISH_KEYS`; absent and null mean the same.

    Raises:
        Refused: A key or a value is not known; PaddleX itself would drop it in silence.
    """
    for key in settings:
        if key not in WISH_KEYS:
            raise Refused(f"{where}: {key!r} is not a known setting{did_you_mean(key, sorted(WISH_KEYS))}")
    backend = settings.get("backend")
    if backend is not None and backend not in BACKENDS:
        near = did_you_mean(str(backend), list(BACKENDS), [])
        raise Refused(f"{where}: backend must be one of {list(BACKENDS)}, got {backend!r}{near}")
    for key in ("auto_config", "auto_paddle2onnx"):
        if not isinstance(settings.get(key), bool | None):
            raise Refused(f"{where}: {key} must be true or false, got {settings[key]!r}")
    config = settings.get("backend_config")
    if not isinstance(config, dict | None):
        raise Refused(f"{where}: backend_config must be a mapping, got {config!r}")
    config = config or {}
    for key in config:
        if key not in BACKEND_CONFIG_KEYS:
            raise Refused(f"{where}: backend_config.{key} is not known{did_you_mean(key, sorted(BACKEND_CONFIG_KEYS))}")
    threads = config.get("cpu_num_threads")
    if threads is not None and (type(threads) is not int or not 1 <= threads <= MAX_THREADS):
        raise Refused(
            f"{where}: backend_config.cpu_num_threads must be a whole number from 1 to {MAX_THREADS}, got {threads!r}"
        )
    automatic = settings.get("auto_config")
    if automatic is False and backend is None:
        raise Refused(f"{where}: backend must be set when auto_config is false")
    return Wish(backend, exactly=automatic is False, threads=threads)
