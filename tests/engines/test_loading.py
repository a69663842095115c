"""What a model file has to be, and what loading one never does."""

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

from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.registry import load_engine, runtime_version
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Backend
from models import graphs
from models.graphs import TinyModel
from models.real import CLASSIFIER, real_model

Load = Callable[[TinyModel], Engine]


def request_for(path: Path, backend: Backend) -> EngineRequest:
    return EngineRequest(path, backend, threads=1)


# Files that are no model.


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"hello " * 100, "cut short or not an ONNX model", id="prose"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), "cut short or not an ONNX model", id="a picture"),
        pytest.param(b"\x08\x08", "no graph", id="a version alone"),
    ],
)
def test_a_file_that_is_not_onnx_fails_with_its_name(
    content: bytes, text: str, backend: Backend, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(EngineFailed, match=rf"model\.onnx .*{text}.*; copy or convert the model again"):
        load_engine(request_for(path, backend))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_a_model_cut_short_fails_with_its_name(share: float, backend: Backend, tmp_path: Path) -> None:
    whole = real_model(CLASSIFIER).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(EngineFailed, match=r"cut\.onnx is cut short or not an ONNX model"):
        load_engine(request_for(path, backend))


def test_a_missing_file_fails_with_its_name(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"none\.onnx cannot be read: No such file"):
        load_engine(request_for(tmp_path / "none.onnx", backend))


def test_a_directory_fails_with_its_name(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="cannot be read: Is a directory"):
        load_engine(request_for(tmp_path, backend))


def test_an_operator_the_runtime_does_not_have_fails_with_its_name(backend: Backend, tmp_path: Path) -> None:
    x, y = graphs.spec("x", "float32", None), graphs.spec("y", "float32", None)
    path = tmp_path / "new.onnx"
    path.write_bytes(graphs.proto([graphs.node("Telepathy", ["x"], ["y"])], [x], [y]).SerializeToString())

    with pytest.raises(EngineFailed, match=r"cannot load .*new\.onnx: .*Telepathy.*; convert the model again"):
        load_engine(request_for(path, backend))


def test_a_graph_that_contradicts_itself_fails(backend: Backend, tmp_path: Path) -> None:
    x, y = graphs.spec("x", "float32", 2, 3), graphs.spec("y", "float32", 2, 2)
    path = tmp_path / "wrong.onnx"
    path.write_bytes(graphs.proto([graphs.node("MatMul", ["x", "x"], ["y"])], [x], [y]).SerializeToString())

    with pytest.raises(EngineFailed, match=r"cannot load .*wrong\.onnx: \S"):
        load_engine(request_for(path, backend))


@pytest.mark.parametrize("location", ["weights.bin", "../secret.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(location: str, backend: Backend, tmp_path: Path) -> None:
    model = graphs.convolution()
    [weight] = model.proto.graph.initializer
    onnx.external_data_helper.set_external_data(weight, location)
    weight.data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")

    with pytest.raises(Refused, match=r"tensor 'weight' is stored in another file.*save the model as one file"):
        load_engine(request_for(model.save(tmp_path), backend))


# What a request has to be.


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ("openvno", "'openvno' is not known; did you mean 'openvino'.; allowed: onnxruntime, openvino, paddle"),
        ("ONNXRuntime", "did you mean 'onnxruntime'"),
        ("quantum", "'quantum' is not known; allowed: onnxruntime, openvino, paddle"),
        ("", "'' is not known; allowed"),
    ],
)
def test_a_backend_of_another_name_is_refused(backend: str, text: str, tmp_path: Path) -> None:
    request = replace(request_for(graphs.add().save(tmp_path), "openvino"), backend=backend)  # type: ignore[arg-type]

    with pytest.raises(Refused, match=text):
        load_engine(request)


@pytest.mark.parametrize("threads", [-1, 0, 1025])
def test_a_thread_count_out_of_range_is_refused(threads: int, backend: Backend, tmp_path: Path) -> None:
    request = replace(request_for(graphs.add().save(tmp_path), backend), threads=threads)

    with pytest.raises(Refused, match=f"threads must be from 1 to 1024, got {threads}"):
        load_engine(request)


def test_the_version_of_the_package_begins_the_version_of_the_runtime_as_loaded(
    backend: Backend, tmp_path: Path
) -> None:
    with load_engine(request_for(graphs.add().save(tmp_path), backend)) as engine:
        loaded = engine.obtained.version

    release = runtime_version(backend)
    assert release is not None
    assert loaded.split("-")[0] == release


def test_the_registry_imports_no_runtime() -> None:
    script = (
        "import sys, hpi_agent.engines.registry; print(sorted({'onnxruntime', 'openvino', 'onnx'} & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


# What loading never does.

LOAD_AND_SAY = """
import sys
events = []
sys.addaudithook(lambda event, _: events.append(event) if event.split('.')[0] in {'socket', 'urllib', 'http'} else None)
sys.addaudithook(lambda event, _: events.append(event) if event in {'os.fork', 'subprocess.Popen'} else None)
from pathlib import Path
import numpy as np
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import load_engine, runtime_version
with load_engine(EngineRequest(Path(sys.argv[1]), sys.argv[2], 1)) as engine:
    engine.infer({'x': np.ones((1, 3), dtype=np.float32)})
print(events, 'openvino_telemetry.main' in sys.modules)
"""


def test_nothing_is_reported_to_the_makers_of_a_runtime(backend: Backend, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    model = graphs.add().save(tmp_path)

    command = [sys.executable, "-c", LOAD_AND_SAY, str(model), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert (done.stdout.strip(), sorted(home.rglob("*"))) == ("[] False", [])


def test_the_directory_of_a_model_is_never_written(backend: Backend, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    model = graphs.convolution()
    path, before = model.save(directory), state_of(directory)

    with load_engine(request_for(path, backend)) as engine:
        engine.infer(model.example(np.random.default_rng(5)))

    assert state_of(directory) == before


def state_of(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(directory.rglob("*"))
    }
