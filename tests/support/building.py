"""Builds of small models: model directories, manifests, a short pace, and processes that build and can be stopped.

Run as a program it builds one manifest and says every event as a JSON line: python -m support.building MANIFEST STORE.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import yaml

from hpi_agent.building.explain import explain_on_site
from hpi_agent.building.measurement import Pace
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import BuildSettings, build_on_site, read_plan
from hpi_agent.building.resolution import Resolution, resolve_plan
from hpi_agent.building.site import Site, read_site
from hpi_agent.building.trial import MODULE as TRIAL
from hpi_agent.processes.process_tree import every_process
from hpi_agent.select.decision import Decision, Outcome
from hpi_agent.store.directory import Store
from hpi_core.errors import HpiError
from models.graphs import TinyModel, add
from support.manifests import a_single_module

NAME: Final = "tiny"
THREADS: Final = 1
PATIENCE_SECONDS: Final = 60.0
"""How long a test waits for another process; nothing waits this long on a machine that works."""

TWO_ROUNDS: Final = Pace(seconds=0.0, min_rounds=2, max_rounds=2, patience_seconds=0.0)
SHORT: Final = replace(TWO_ROUNDS, quiet_load=math.inf, window_seconds=0.0)
"""Two rounds, and every machine counts as quiet: who else works on it must not decide a test."""
LOUD: Final = replace(SHORT, quiet_load=-1.0)
"""Two rounds on a machine that no load is low enough for."""


def model_directory(folder: Path, model: TinyModel | None = None, name: str = NAME, **inference: Any) -> Path:
    """Write a model directory: the graph, and an `inference.yml` that names it, with parts of it given."""
    folder.mkdir(parents=True, exist_ok=True)
    (model or add()).save(folder).rename(folder / "inference.onnx")
    write_inference(folder, name, **inference)
    return folder


def write_inference(folder: Path, name: str = NAME, **inference: Any) -> None:
    """Write the `inference.yml` of a model directory."""
    text = yaml.safe_dump({"Global": {"model_name": name}, **inference})
    (folder / "inference.yml").write_text(text, encoding="utf-8")


def manifest_of(folder: Path, name: str = NAME, **spec: Any) -> str:
    """Return the manifest of one model alone, with fields of the spec beside it."""
    document = a_single_module(name=name, source=f"file://{folder}")
    document["spec"] |= spec
    return json.dumps(document)


@cache
def _this_machine() -> Site:
    return read_site(Store(Path("/nowhere")), THREADS, None)


def a_site(store: Path) -> Site:
    """Return what this machine brings with a store of the test's: two runtimes, one thread, no Paddle."""
    here = _this_machine()
    runtimes = {**here.runtimes, "paddle": None}
    return Site(Store(store), here.hardware, THREADS, here.knowledge, runtimes, None, here.plugin, None)


@dataclass
class Built:
    """What one build decided and said."""

    decision: Decision
    events: list[dict[str, Any]]

    @property
    def is_hit(self) -> bool:
        """Whether the decision was there before."""
        [decided] = [event for event in self.events if event["event"] == "decided"]
        return bool(decided["hit"])

    @property
    def started(self) -> list[str]:
        """The candidates that were worked on, each once, in their order."""
        return list(dict.fromkeys(event["candidate"] for event in self.events if event["event"] == "candidate"))

    def outcome(self, name: str) -> Outcome:
        """Return what became of one candidate."""
        return outcome_of(self.decision, name)


def outcome_of(decision: Decision, name: str) -> Outcome:
    """Return what became of one candidate, by its name."""
    [found] = [outcome for outcome in decision.outcomes if outcome.candidate.name == name]
    return found


def build(manifest: str, site: Site, saboteur: Saboteur | None = None, **settings: Any) -> Built:
    """Build a manifest of one model, at the short pace unless another is given."""
    events: list[dict[str, Any]] = []
    chosen = BuildSettings(**{"store": site.store.root, "samples": site.samples, "pace": SHORT, **settings})
    [decision] = build_on_site(manifest, "test.yaml", site, chosen, saboteur or events.append)
    return Built(decision, saboteur.events if saboteur else events)


def only(backend: str, **config: Any) -> dict[str, Any]:
    """Return the `spec.inference` that lets one backend serve and no other, with keys of its `backend_config`."""
    settings: dict[str, Any] = {"autoConfig": False, "backend": backend}
    return {"hpiConfig": {**settings, **({"backendConfig": config} if config else {})}}


def resolution_of(manifest: str, site: Site) -> Resolution:
    """Return what has to be decided for the one model of a manifest."""
    checked, plan = read_plan(manifest, "test.yaml")
    [resolution] = resolve_plan(plan, assemble_models(plan, site.store), checked.spec.build, site)
    return resolution


def explained(manifest: str, site: Site) -> dict[str, Any]:
    """Return what is known of the one model of a manifest."""
    [model] = explain_on_site(manifest, "test.yaml", site)["models"]
    found: dict[str, Any] = model
    return found


def engines_of(store: Store) -> dict[str, str]:
    """Return the names of the engines in a store, by key."""
    return {entry.key: str(entry.about["engine"]) for entry in store.entries() if entry.kind == "engines"}


@dataclass
class BuildProcess:
    """A process that builds, and what it has said so far."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, **wanted: str) -> dict[str, Any]:
        """Read events up to one with these fields, and return it."""
        for event in self._lines():
            if event.items() >= wanted.items():
                return event
        raise AssertionError(f"the build ended with {self.process.wait()} and never said {wanted}: {self.events}")

    def finish(self) -> list[dict[str, Any]]:
        """Read to the end and return every event; the build must have succeeded."""
        for _ in self._lines():
            pass
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.events
        return self.events

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self._output:
            self.events.append(json.loads(line))
            yield self.events[-1]

    @property
    def _output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout


@contextmanager
def building(manifest: str, store: Path, within: Sequence[str] = ()) -> Iterator[BuildProcess]:
    """Build in a process of its own, which is killed when the block ends; behind the words of another command."""
    command = [*within, sys.executable, "-m", "support.building", manifest, str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert process.stdout is not None
    try:
        yield BuildProcess(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy by processes that are none of this process's tree."""
    spin = f"{shlex.quote(sys.executable)} -c 'while True: pass' >/dev/null & echo $!"
    cores = len(os.sched_getaffinity(0))
    # The shell that starts a process ends at once: the process is nobody's then, as those of other users are.
    pids = [int(subprocess.check_output(["sh", "-c", spin])) for _ in range(cores)]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, oldest first."""
    found = [stat for stat in every_process().values() if stat.parent == pid]
    return [stat.pid for stat in sorted(found, key=lambda stat: (stat.started, stat.pid))]


def runs_a_trial(pid: int) -> bool:
    """Say whether a process holds a candidate."""
    try:
        return TRIAL.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds; fail when it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@dataclass
class Saboteur:
    """Sends a signal to the process of one candidate when a step of it begins; give it as `say`.

    Attributes:
        candidate: Name of the candidate.
        step: `build`, `load` and `reference` begin with a process of their own, `judge` and `time` in the one that was
            loaded.
        signal: What to send.
        events: Everything that was said.
    """

    candidate: str
    step: str
    signal: signal.Signals
    events: list[dict[str, Any]] = field(default_factory=list)
    _struck: bool = False
    _pids: dict[str, int] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __call__(self, event: dict[str, Any]) -> None:
        """Note an event and act when it is the one."""
        self.events.append(event)
        if event["event"] not in ("model", "candidate"):
            return
        who = event.get("candidate", event["detail"])
        if event["step"] == "judge":
            self._pids[who] = children_of(os.getpid())[-1]
        if not self._struck and (who, event["step"]) == (self.candidate, self.step):
            self._struck = True
            self._strike()

    def _strike(self) -> None:
        if self.step in ("judge", "time"):
            os.kill(self._pids[self.candidate], self.signal)
            return
        # The process is started after the step was told: whatever child appears next is it.
        before = set(children_of(os.getpid()))
        thread = threading.Thread(target=self._strike_next, args=(before,))
        thread.start()
        self._threads.append(thread)

    def _strike_next(self, before: set[int]) -> None:
        def trials() -> list[int]:
            # Not before it runs a program of its own: until then its parent stands still with it.
            return [pid for pid in children_of(os.getpid()) if pid not in before and runs_a_trial(pid)]

        wait_until(lambda: bool(trials()))
        os.kill(trials()[0], self.signal)


def main(manifest: str, store: str) -> None:
    """Build, and say every event and every process that is started."""

    def say(event: Mapping[str, Any]) -> None:
        print(json.dumps(event), flush=True)

    def say_process(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "subprocess.Popen":
            say({"event": "process", "command": [str(word) for word in arguments[1]]})

    sys.addaudithook(say_process)
    settings = BuildSettings(Path(store), None, pace=SHORT)
    try:
        build_on_site(manifest, "test.yaml", a_site(Path(store)), settings, say)
    except HpiError as error:
        decisions = len(Store(Path(store)).decisions())
        say({"event": "error", "kind": type(error).__name__, "text": str(error), "decisions": decisions})


if __name__ == "__main__":
    main(*sys.argv[1:])
