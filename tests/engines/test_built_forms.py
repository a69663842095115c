"""What a built form gives, and what is never loaded as one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Backend, Precision
from models import graphs
from models.real import CLASSIFIER, DETECTOR, RECOGNISER, lines_for_recogniser, page_for_detector, real_model
from support.engines import IN_PROCESS, with_built_form
from support.processors import needs_bfloat16

WAYS = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    pytest.param("openvino", "bfloat16", marks=needs_bfloat16),
)

every_way = pytest.mark.parametrize(("backend", "precision"), WAYS)

# What it gives.


@every_way
@pytest.mark.parametrize(("name", "picture"), [(DETECTOR, page_for_detector), (RECOGNISER, lines_for_recogniser)])
def test_a_built_form_answers_bit_for_bit_as_the_model_file(
    name: str, picture: Callable[[], np.ndarray], backend: Backend, precision: Precision
) -> None:
    request = EngineRequest(real_model(name), backend, len(os.sched_getaffinity(0)), precision)
    x = picture()[..., :320]

    with load_engine(request) as from_file, load_engine(with_built_form(request)) as from_store:
        want, got = (engine.infer({"x": x})["fetch_name_0"] for engine in (from_file, from_store))

    assert np.array_equal(got, want)


@every_way
def test_an_engine_from_a_built_form_describes_itself_as_one_from_the_file(
    backend: Backend, precision: Precision, tmp_path: Path
) -> None:
    request = EngineRequest(graphs.mixed().save(tmp_path), backend, 1, precision)

    with load_engine(request) as from_file, load_engine(with_built_form(request)) as from_store:
        described = [
            (one.inputs, one.outputs, replace(one.obtained, from_store=True)) for one in (from_file, from_store)
        ]
        said = (from_file.obtained.from_store, from_store.obtained.from_store)

    assert described[0] == described[1]
    assert said == (False, True)


def test_the_answers_come_from_the_bytes_given_and_not_from_the_file(backend: Backend, tmp_path: Path) -> None:
    model = graphs.add()
    request = with_built_form(EngineRequest(model.save(tmp_path), backend, threads=1))
    overwrite_with_other_weights(request.model_path)
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as engine:
        y = engine.infer(feeds)["y"]

    assert np.array_equal(y, model.answer(feeds)["y"])


def overwrite_with_other_weights(path: Path) -> None:
    proto = onnx.load(path)
    [weight] = proto.graph.initializer
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 1, weight.name))
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("threads", sorted({1, min(2, len(os.sched_getaffinity(0)))}))
def test_a_built_form_runs_with_the_threads_of_the_load_and_not_of_the_build(
    threads: int, backend: Backend, tmp_path: Path
) -> None:
    built = build_engine(EngineRequest(graphs.convolution().save(tmp_path), backend, threads=1))
    request = EngineRequest(tmp_path / "convolution.onnx", backend, threads, built=built)

    with load_engine(request) as engine:
        obtained = engine.obtained

    assert obtained.threads == threads


def test_building_leaves_nothing_behind(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path, opened = graphs.convolution().save(tmp_path), open_files()

    build_engine(EngineRequest(path, backend, threads=1))

    assert list(tmp_path.iterdir()) == [path]
    assert not [name for name in open_files() if name not in opened and "built" in name]


def open_files() -> list[str]:
    directory = Path("/proc/self/fd")
    return [os.readlink(path) for path in directory.iterdir() if path.is_symlink()]


BUILD_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import build_engine
from hpi_core.errors import EngineFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    built = build_engine(EngineRequest(Path(sys.argv[1]), 'onnxruntime', 1))
    print(f'{len(built)} bytes')
except EngineFailed as error:
    print(error)
"""


def test_a_built_form_that_cannot_be_written_whole_fails_with_the_name_of_the_model() -> None:
    command = [sys.executable, "-c", BUILD_WITHOUT_ROOM, str(real_model(CLASSIFIER))]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert f"cannot load {real_model(CLASSIFIER)}: " in printed


def test_a_graph_wanted_as_it_is_written_has_no_built_form(tmp_path: Path) -> None:
    request = EngineRequest(graphs.add().save(tmp_path), "onnxruntime", 1, options=(("graph_optimization", "off"),))

    assert build_engine(request) is None


def test_paddle_has_no_built_form(tmp_path: Path) -> None:
    assert build_engine(EngineRequest(tmp_path / "inference.json", "paddle", 1)) is None


def test_a_request_that_has_its_built_form_is_not_built_again(backend: Backend, tmp_path: Path) -> None:
    request = with_built_form(EngineRequest(graphs.add().save(tmp_path), backend, threads=1))

    with pytest.raises(Refused, match="a built form is made from the model file; the request already has one"):
        build_engine(request)


def test_a_model_that_cannot_be_loaded_cannot_be_built(backend: Backend, tmp_path: Path) -> None:
    x, y = graphs.spec("x", "float32", None), graphs.spec("y", "float32", None)
    path = tmp_path / "new.onnx"
    path.write_bytes(graphs.proto([graphs.node("Telepathy", ["x"], ["y"])], [x], [y]).SerializeToString())

    with pytest.raises(EngineFailed, match=r"cannot load .*new\.onnx.*Telepathy.*; convert the model again"):
        build_engine(EngineRequest(path, backend, threads=1))


# What is never loaded. Flipped bits are the store's part: no runtime notices them.


@pytest.fixture(scope="module")
def built_classifiers() -> dict[Backend, EngineRequest]:
    return {backend: with_built_form(EngineRequest(real_model(CLASSIFIER), backend, 1)) for backend in IN_PROCESS}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda built: built[:40], id="40 bytes"),
        pytest.param(lambda built: built[: len(built) // 2], id="half"),
        pytest.param(lambda built: built[:-300], id="all but 300 bytes"),
        pytest.param(lambda built: bytes(len(built)), id="zeros"),
        pytest.param(lambda built: b"\xff" * len(built), id="ones"),
        pytest.param(lambda _: real_model(CLASSIFIER).read_bytes(), id="the model file itself"),
    ],
)
def test_bytes_that_are_no_whole_built_form_fail_with_the_name_of_the_model(
    damage: Callable[[bytes], bytes], backend: Backend, built_classifiers: dict[Backend, EngineRequest]
) -> None:
    request = built_classifiers[backend]

    with pytest.raises(EngineFailed, match=rf"built form of .*{CLASSIFIER}\.onnx.*; build it again"):
        load_engine(replace(request, built=damage(request.built or b"")))


def test_the_built_form_of_the_other_backend_fails(
    backend: Backend, built_classifiers: dict[Backend, EngineRequest]
) -> None:
    [other] = [request.built for name, request in built_classifiers.items() if name != backend]

    with pytest.raises(EngineFailed, match=rf"built form of .*{CLASSIFIER}\.onnx.*; build it again"):
        load_engine(replace(built_classifiers[backend], built=other))


def test_the_built_form_of_another_release_fails_with_both(
    backend: Backend, built_classifiers: dict[Backend, EngineRequest]
) -> None:
    request = built_classifiers[backend]
    release = b"onnxruntime 1." if backend == "onnxruntime" else b"ov=2026."
    assert (request.built or b"").count(release) == 1
    older = (request.built or b"").replace(release, release[:-2] + b"0.")

    with pytest.raises(EngineFailed, match=r"built form of .*(ov=2020|onnxruntime 0).*(ov=2026|onnxruntime 1).*again"):
        load_engine(replace(request, built=older))


def test_the_built_form_of_another_model_fails_with_both_declarations(backend: Backend, tmp_path: Path) -> None:
    other = build_engine(EngineRequest(graphs.convolution().save(tmp_path), backend, threads=1))
    request = EngineRequest(graphs.add().save(tmp_path), backend, threads=1, built=other)

    with pytest.raises(
        EngineFailed,
        match=r"add\.onnx declares x float32 \(\?, 3\) → y float32 \(\?, 3\), .* loaded from the built form "
        r"x float32 \(\?, 3, \?, \?\) → y float32 \(\?, 8, \?, \?\); build it again",
    ):
        load_engine(request)


def test_the_detectors_built_form_is_not_taken_for_the_recognisers(backend: Backend) -> None:
    built = build_engine(EngineRequest(real_model(DETECTOR), backend, threads=1))

    with pytest.raises(EngineFailed, match=r"rec_small\.onnx declares .*18710\), .* loaded from the built form"):
        load_engine(EngineRequest(real_model(RECOGNISER), backend, 1, built=built))


def test_a_failed_built_form_leaves_the_model_file_usable(
    backend: Backend, built_classifiers: dict[Backend, EngineRequest]
) -> None:
    request = built_classifiers[backend]
    with pytest.raises(EngineFailed):
        load_engine(replace(request, built=b"damaged"))

    with load_engine(replace(request, built=None)) as engine:
        [answer] = engine.infer({"x": np.zeros((1, 3, 48, 192), dtype=np.float32)}).values()

    assert answer.sum() == pytest.approx(1, abs=1e-5)
