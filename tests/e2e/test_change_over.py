"""A server that changes over to better engines between two requests, and what it does on bad days of its store.

Decisions are copies of real ones, which one build of the session has made, with the other engine chosen.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hpi_agent.building.placement import BUILT_FILE
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import build_engine
from hpi_agent.processes.process_tree import read_stat
from hpi_agent.select.decision import Decision, Outcome, Verdict, read_decision
from hpi_agent.store.directory import Store
from models.real import DETECTOR as DETECTOR_FILE
from models.real import real_model
from support.images import text_page
from support.servers import PATIENCE_SECONDS, RunningServer, built_store, sample_manifest, serving, texts

DETECTOR: Final = "PP-OCRv6_small_det"
LINES: Final = ["changed over", "between two requests"]
PAGE: Final = text_page(*LINES)
CHANGES: Final = 4
CLIENTS: Final = 4


@dataclass(frozen=True)
class DetectorStore:
    """A store of the test's own, with a real decision for the detector that can be replaced."""

    store: Store
    decision: Decision

    def outcome(self, backend: str) -> Outcome:
        """What was found out about one backend."""
        [found] = [one for one in self.decision.outcomes if one.candidate.name == backend and one.engine_key]
        return found

    def decide(self, backend: str, engine_key: str | None = None) -> None:
        """Choose a backend, with an engine of another key if one is given."""
        outcomes = []
        for one in self.decision.outcomes:
            verdict: Verdict = one.verdict if one.verdict == "Excluded" else "Slower"
            if one.candidate.name == backend:
                one, verdict = replace(one, engine_key=engine_key or one.engine_key), "Chosen"
            outcomes.append(replace(one, verdict=verdict))
        written = replace(self.decision, outcomes=tuple(outcomes))
        self.store.write_decision(written.key, written.to_json())

    def publish(self, key: str, built: bytes) -> str:
        """Publish an engine under a key made up by the test; return the key."""
        about = {"model": DETECTOR, "engine": "of the test", "key": {}}
        self.store.publish("engines", key, lambda folder: _write(folder / BUILT_FILE, built), about=about)
        return key


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def a_key(number: int) -> str:
    return f"sha256:{number:064x}"


def a_detector_store(root: Path, factory: pytest.TempPathFactory) -> DetectorStore:
    """Return a copy of a store in which everything was built, with openvino chosen for the detector."""
    shutil.copytree(built_store(factory.getbasetemp()), root, symlinks=True)
    store = Store(root)
    [written] = [one for one in store.decisions() if one["resolution"]["model"]["name"] == DETECTOR]
    found = DetectorStore(store, read_decision(written))
    found.decide("openvino")
    return found


@pytest.fixture
def detector(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> DetectorStore:
    return a_detector_store(tmp_path / "store", tmp_path_factory)


@dataclass(frozen=True)
class Kept:
    """A server for several tests; each leaves it as it was: openvino serves the detector."""

    server: RunningServer
    detector: DetectorStore

    def change_to(self, backend: str) -> dict[str, Any]:
        """Decide for a backend and return what the server tells when it has changed over."""
        before = self.server.count("engines")
        self.detector.decide(backend)
        return self.server.wait_for("engines", before + 1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    detector = a_detector_store(tmp_path_factory.mktemp("kept") / "store", tmp_path_factory)
    with serving(sample_manifest(), detector.store.root) as running:
        yield Kept(running, detector)


@pytest.fixture
def server(detector: DetectorStore) -> Iterator[RunningServer]:
    with serving(sample_manifest(), detector.store.root) as running:
        yield running


def engine_of(server: RunningServer) -> str:
    return str(server.engines()[DETECTOR]["engine"])


@dataclass
class Load:
    """Clients that read the same page again and again."""

    server: RunningServer
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[list[str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def read_until_stopped(self) -> None:
        """Be one client."""
        while not self._stop.is_set():
            try:
                answer = self.server.read(PAGE)
                found = texts(answer) if answer.status_code == 200 else None
            except Exception as error:
                self._count(f"{type(error).__name__}: {error}", None)
            else:
                self._count(None if found else answer.text, found)

    def _count(self, failure: str | None, found: list[str] | None) -> None:
        with self._counting:
            if failure is not None:
                self.failed.append(failure)
            elif found != LINES:
                self.wrong.append(found or [])
            else:
                self.answered += 1

    def stop(self) -> None:
        """Let every client end after its present request."""
        self._stop.set()


def test_under_load_engines_change_back_and_forth_without_a_failed_or_a_wrong_answer(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load(kept.server)
    served, counted = [], []
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.read_until_stopped) for _ in range(CLIENTS)]
        try:
            for change in range(1, CHANGES + 1):
                kept.change_to("onnxruntime" if change % 2 else "openvino")
                served.append(engine_of(kept.server))
                # One request can have been in service with the old engine; the next answer is the new one's.
                counted.append(_wait_for_answers(load, 2))
        finally:
            load.stop()
    for client in clients:
        client.result()

    with capsys.disabled():
        answers = f"{load.answered} right answers, {len(load.failed)} failed, {len(load.wrong)} wrong"
        print(f"\n{CHANGES} change-overs under {CLIENTS} clients: {answers}")
    assert (load.failed, load.wrong) == ([], [])
    assert served == ["onnxruntime", "openvino"] * (CHANGES // 2)
    assert all(number >= 2 for number in counted)
    assert kept.server.count("kept") == 0


def _wait_for_answers(load: Load, more: int) -> int:
    before, deadline = load.answered, time.monotonic() + PATIENCE_SECONDS
    while load.answered - before < more and not load.failed:
        assert time.monotonic() < deadline, "the clients get no answers"
        time.sleep(0.01)
    return load.answered - before


def test_a_change_over_shows_in_engines_metrics_and_the_models_of_the_protocol(kept: Kept) -> None:
    before = kept.server.engines()[DETECTOR]

    told = kept.change_to("onnxruntime")
    after = kept.server.engines()[DETECTOR]
    with kept.server.client() as client:
        metadata = client.get(f"/v2/models/{DETECTOR}").json()
        lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("hpi_engine_info{")]
    kept.change_to("openvino")

    assert (before["engine"], before["state"], before["fromStore"]) == ("openvino", "Measured", True)
    assert (after["engine"], after["state"], after["fromStore"]) == ("onnxruntime", "Measured", True)
    assert after["engineKey"] == kept.detector.outcome("onnxruntime").engine_key
    assert told["changed"] == DETECTOR
    assert "onnxruntime" in metadata["platform"]
    [shown] = [line for line in lines if f'model="{DETECTOR}"' in line]
    assert 'backend="onnxruntime"' in shown
    assert 'state="Measured"' in shown


def test_bad_engines_and_a_damaged_decision_are_refused_one_by_one_and_the_old_engine_goes_on(
    server: RunningServer, detector: DetectorStore
) -> None:
    cases: dict[str, Callable[[], None]] = {
        "damaged": lambda: _decide_for_a_damaged_engine(detector),
        "onnxruntime": lambda: detector.decide("onnxruntime", detector.publish(a_key(1), b"no engine at all")),
        "NaN": lambda: detector.decide("onnxruntime", detector.publish(a_key(2), _built(_answers_nan))),
        "another": lambda: detector.decide("onnxruntime", detector.publish(a_key(3), _built(_another_output))),
        "not in the store": lambda: detector.decide("onnxruntime", a_key(4)),
        "hpi-agent build": lambda: _damage_the_decision(detector),
    }

    reasons = {}
    for number, (says, act) in enumerate(cases.items(), 1):
        act()
        reasons[says] = server.wait_for("kept", number)["reason"]
        assert texts(server.read(PAGE)) == LINES
    detector.decide("openvino")

    assert {says for says, reason in reasons.items() if says in reason} == set(cases), reasons
    assert engine_of(server) == "openvino"
    assert server.count("engines") == 0


def _decide_for_a_damaged_engine(detector: DetectorStore) -> None:
    key = detector.outcome("onnxruntime").engine_key
    assert key is not None
    path = detector.store.root / "engines" / key.removeprefix("sha256:") / BUILT_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    detector.decide("onnxruntime")


def _damage_the_decision(detector: DetectorStore) -> None:
    [path] = [path for path in (detector.store.root / "decisions").iterdir() if path.stem in detector.decision.key]
    path.write_text(path.read_text(encoding="utf-8").replace("Measured", "Measureb", 1)[:-20], encoding="utf-8")


def _built(change: Callable[[Any], None]) -> bytes:
    """Return the built form of the real detector after a change of its graph."""
    model = onnx.load(real_model(DETECTOR_FILE))
    change(model.graph)
    path = Path(f"/proc/self/fd/{os.memfd_create('changed')}")
    path.write_bytes(model.SerializeToString())
    built = build_engine(EngineRequest(path, "onnxruntime", 1))
    os.close(int(path.name))
    assert built is not None
    return built


def _answers_nan(graph: Any) -> None:
    """Multiply the answer by NaN; names and shapes stay."""
    name = graph.output[0].name
    [last] = [node for node in graph.node if name in node.output]
    last.output[list(last.output).index(name)] = "before"
    graph.initializer.append(numpy_helper.from_array(np.array(np.nan, dtype=np.float32), "not_a_number"))
    graph.node.append(helper.make_node("Mul", ["before", "not_a_number"], [name]))


def _another_output(graph: Any) -> None:
    """Give the answer another name."""
    name = graph.output[0].name
    [last] = [node for node in graph.node if name in node.output]
    last.output[list(last.output).index(name)] = "another"
    graph.output[0].name = "another"


@pytest.mark.slow
def test_a_date_in_the_past_or_the_future_hides_no_decision_and_makes_none(
    server: RunningServer, detector: DetectorStore
) -> None:
    [path] = [path for path in (detector.store.root / "decisions").iterdir() if path.stem in detector.decision.key]
    for seconds in (0, 4_000_000_000):
        os.utime(path, (seconds, seconds))
    detector.decide("onnxruntime")
    os.utime(path, (1, 1))

    server.wait_for("engines")

    assert engine_of(server) == "onnxruntime"
    assert (server.count("engines"), server.count("kept")) == (1, 0)


@pytest.mark.slow
def test_a_store_that_is_deleted_is_missed_by_nobody_and_a_new_worker_makes_it_again(
    server: RunningServer, detector: DetectorStore
) -> None:
    shutil.rmtree(detector.store.root)

    during = [texts(server.read(PAGE)) for _ in range(2)]
    os.kill(server.worker_pid(), signal.SIGKILL)
    again = server.wait_for("ready", 2)

    assert during == [LINES, LINES]
    assert texts(server.read(PAGE)) == LINES
    assert {model["state"] for model in again["models"]} == {"Unmeasured"}
    assert server.count("kept") == 0


@pytest.mark.slow
def test_a_worker_that_dies_three_times_without_an_answer_comes_back_without_the_engines_of_the_store(
    server: RunningServer,
) -> None:
    for death in (1, 2, 3):
        os.kill(server.worker_pid(), signal.SIGKILL)
        ready = server.wait_for("ready", death + 1)
        assert ready["cautious"] is (death == 3)

    [model, _] = ready["models"]
    assert texts(server.read(PAGE)) == LINES
    assert (model["state"], model["fromStore"]) == ("Fallback", False)
    assert "died again and again" in model["reason"]


def test_a_worker_that_dies_before_its_first_word_is_started_once_more_without_the_engines_of_the_store(
    detector: DetectorStore,
) -> None:
    with serving(sample_manifest(), detector.store.root, wait=False) as server:
        os.kill(server.worker_pid(), signal.SIGKILL)
        server.wait_for("listening")

        assert server.wait_for("ready")["cautious"] is True
        assert texts(server.read(PAGE)) == LINES


def test_a_read_only_store_that_is_warm_serves_its_engines(detector: DetectorStore) -> None:
    # A mount of its own, which ends with the process: as an image or a volume that is mounted read-only.
    root = detector.store.root
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", script, str(root))

    with serving(sample_manifest(build={"policy": "OnDemand"}), root, within=within) as server:
        states = {model["state"] for model in server.engines().values()}
        found = texts(server.read(PAGE))

    assert (states, found) == ({"Measured"}, LINES)
    assert server.count("building") == 0


@pytest.mark.slow
def test_a_read_only_store_with_nothing_decided_serves_and_the_builder_says_what_is_wrong(
    detector: DetectorStore, capfd: pytest.CaptureFixture[str]
) -> None:
    root = detector.store.root
    shutil.rmtree(root / "decisions")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", script, str(root))

    with serving(sample_manifest(build={"policy": "OnDemand"}), root, within=within) as server:
        built = server.wait_for("built")
        found = texts(server.read(PAGE))

    assert (built["exitCode"], found) == (1, LINES)
    said = capfd.readouterr().err
    assert "Read-only file system" in said
    assert "--store" in said


@pytest.fixture
def building(detector: DetectorStore) -> Iterator[RunningServer]:
    """Return a server on a store without decisions, whose builder is at work."""
    shutil.rmtree(detector.store.root / "decisions")
    with serving(sample_manifest(build={"policy": "OnDemand"}), detector.store.root) as running:
        running.wait_for("building", 3)
        yield running


def test_a_builder_that_is_killed_is_told_and_serving_goes_on(building: RunningServer) -> None:
    os.kill(building.builder_pid(), signal.SIGKILL)

    told = building.wait_for("built")

    assert told["exitCode"] == -signal.SIGKILL
    assert "SIGKILL" in told["reason"]
    assert texts(building.read(PAGE)) == LINES


def test_a_server_that_is_stopped_while_it_builds_drains_and_leaves_no_process(building: RunningServer) -> None:
    started = building.descendants()
    # Standing still, it would not answer a signal that can be put off.
    os.kill(building.builder_pid(), signal.SIGSTOP)

    code = building.terminate()

    assert code == 0
    assert len(started) >= 3
    _until(lambda: not [pid for pid in started if _lives(pid)])
    assert building.count("draining") == 1
    assert building.count("built") == 0


@pytest.mark.slow
def test_a_server_that_is_killed_while_it_builds_leaves_no_process(building: RunningServer) -> None:
    started = building.descendants()
    assert building.builder_pid() in started

    building.process.kill()
    building.process.wait()

    _until(lambda: not [pid for pid in started if _lives(pid)])


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.lives


@pytest.mark.slow
def test_an_empty_store_serves_at_once_builds_beside_and_changes_over_between_two_requests(tmp_path: Path) -> None:
    manifest = sample_manifest(build={"policy": "OnDemand"})
    with serving(manifest, tmp_path / "store") as server:
        ready = server.wait_for("ready")
        load = Load(server)
        with ThreadPoolExecutor(1) as pool:
            client = pool.submit(load.read_until_stopped)
            try:
                server.wait_for("engines", 2)
                built = server.wait_for("built")
                _wait_for_answers(load, 1)
            finally:
                load.stop()
        client.result()
        states = {model["state"] for model in server.engines().values()}

    assert {model["state"] for model in ready["models"]} == {"Unmeasured"}
    assert built["exitCode"] == 0
    # Beside a client that never rests nothing is measured in quiet.
    assert states <= {"Measured", "Provisional"}
    assert (load.failed, load.wrong) == ([], [])
    assert server.count("kept") == 0


@pytest.mark.slow
def test_a_running_server_picks_up_what_a_build_beside_it_published(tmp_path: Path) -> None:
    manifest = sample_manifest()
    with serving(manifest, tmp_path / "store") as server:
        before = texts(server.read(PAGE))
        command = [sys.executable, "-m", "hpi_agent", "build", "-f", "-", "--store", str(tmp_path / "store")]
        done = subprocess.run(command, input=json.dumps(manifest), text=True, capture_output=True, check=False)
        server.wait_for("engines", 2)

        after = texts(server.read(PAGE))
        states = {model["state"] for model in server.engines().values()}

    assert done.returncode == 0, done.stderr
    assert (before, after) == (LINES, LINES)
    assert states <= {"Measured", "Provisional"}
    assert server.count("building") == 0
