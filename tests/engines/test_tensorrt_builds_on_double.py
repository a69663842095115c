"""What TensorRT's engine says, measures and asks for while it builds: on the double."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doubles.gpus import Machine
from doubles.nvidia_runtimes import presented
from doubles.tensorrt_build import MAGIC
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_agent.engines.sealed_bytes import seal, unseal
from hpi_agent.engines.tensorrt_builder import KIND
from hpi_agent.engines.timing_cache import KIND as CACHE_KIND
from hpi_core.errors import EngineFailed
from models import graphs
from support.engines import WAYS

[TENSORRT] = [way for way in WAYS if way.name == "tensorrt"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with presented() as found:
        yield found


# What is said while a model is built.


def test_the_phases_of_a_build_are_logged(machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        build_engine(TENSORRT.request(graphs.convolution(), tmp_path))

    said = [(record.message, record.__dict__["phase"], record.__dict__["steps"]) for record in caplog.records]
    assert said == [("tensorrt builds", "Building Engine", 2)]


def test_the_errors_that_tensorrt_logs_are_told(machine: Machine, tmp_path: Path) -> None:
    # The smallest shape that the tests give has no two rows.
    with pytest.raises(EngineFailed, match=r"cannot load .*pairs\.onnx: IBuilder::buildSerializedNetwork: .*kMIN"):
        load_engine(TENSORRT.request(graphs.pairs(), tmp_path))


def test_an_error_is_not_told_of_the_next_model(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="kMIN"):
        load_engine(TENSORRT.request(graphs.pairs(), tmp_path))

    with pytest.raises(EngineFailed) as failure:
        load_engine(TENSORRT.request(graphs.twice("uint8"), tmp_path))

    assert "kMIN" not in str(failure.value)


# Timings of kernels.


def timing_request(directory: Path) -> EngineRequest:
    return replace(TENSORRT.request(graphs.convolution(), directory), timing_cache=directory / "timings")


def test_a_second_build_measures_nothing(machine: Machine, tmp_path: Path) -> None:
    request = timing_request(tmp_path)

    counts = []
    for _ in range(2):
        build_engine(request)
        counts.append(machine.measured)

    assert counts[0] == counts[1] == 2


def test_without_a_file_every_build_measures(machine: Machine, tmp_path: Path) -> None:
    request = replace(timing_request(tmp_path), timing_cache=None)

    for _ in range(2):
        build_engine(request)

    assert machine.measured == 4
    assert not (tmp_path / "timings").exists()


def test_measurements_of_several_models_are_kept_together(machine: Machine, tmp_path: Path) -> None:
    first = timing_request(tmp_path)
    second = replace(TENSORRT.request(graphs.mixed(), tmp_path), timing_cache=tmp_path / "timings")
    build_engine(first)
    build_engine(second)
    measured = machine.measured

    build_engine(first)
    build_engine(second)

    assert machine.measured == measured
    assert [path.name for path in tmp_path.iterdir() if "timings" in path.name] == ["timings"]


def test_measurements_that_another_build_has_kept_meanwhile_are_not_lost(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt

    first = timing_request(tmp_path)
    second = replace(TENSORRT.request(graphs.mixed(), tmp_path), timing_cache=tmp_path / "timings")
    build = tensorrt.Builder.build_serialized_network

    def build_while_another_does(self: Any, network: Any, config: Any) -> Any:
        monkeypatch.undo()
        build_engine(second)
        return build(self, network, config)

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", build_while_another_does)
    build_engine(first)
    measured = machine.measured

    build_engine(first)
    build_engine(second)

    assert machine.measured == measured > 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda kept: kept[:-1], id="cut short"),
        pytest.param(lambda kept: bytes(unseal(CACHE_KIND, kept)[1]), id="without its seal"),
        pytest.param(lambda kept: resealed(kept, tensorrt="10.0.1"), id="another release"),
        pytest.param(lambda kept: resealed(kept, device="NVIDIA L4"), id="another device"),
        pytest.param(lambda kept: seal(KIND, *unseal(CACHE_KIND, kept)), id="a plan"),
    ],
)
def test_measurements_that_are_not_of_this_device_are_ignored_and_that_is_said(
    damage: Any, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = timing_request(tmp_path)
    build_engine(request)
    kept = tmp_path / "timings"
    kept.write_bytes(damage(kept.read_bytes()))

    with caplog.at_level(logging.WARNING):
        build_engine(request)
    build_engine(request)

    assert machine.measured == 4
    assert caplog.records[0].message == "the timing cache is ignored; every kernel is measured anew"
    assert caplog.records[0].__dict__["reason"]


def resealed(kept: bytes, **other: str) -> bytes:
    facts, content = unseal(CACHE_KIND, kept)
    return seal(CACHE_KIND, {**facts, **other}, bytes(content))


def test_measurements_that_tensorrt_itself_refuses_are_ignored_and_that_is_said(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = timing_request(tmp_path)
    build_engine(request)
    kept = tmp_path / "timings"
    facts, content = unseal(CACHE_KIND, kept.read_bytes())
    kept.write_bytes(seal(CACHE_KIND, facts, bytes(content).replace(b'"capability": [8, 6]', b'"capability": [7, 5]')))

    with caplog.at_level(logging.WARNING):
        build_engine(request)

    assert machine.measured == 4
    assert "TensorRT does not accept it for this device" in [record.__dict__["reason"] for record in caplog.records]


def test_measurements_that_cannot_be_kept_do_not_fail_the_build(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = replace(timing_request(tmp_path), timing_cache=tmp_path / "none" / "timings")

    with caplog.at_level(logging.WARNING):
        built = build_engine(request)

    assert built
    assert [record.message for record in caplog.records] == [
        "measurements of kernels cannot be kept; the next build takes as long"
    ]


# What reaches the builder.


def described(built: bytes | None) -> dict[str, Any]:
    """Return what the double wrote of a build into its plan."""
    _, plan = unseal(KIND, built or b"")
    found: dict[str, Any] = json.loads(bytes(plan)[len(MAGIC) :].partition(b"\0")[0])
    return found


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("float32", []),
        ("tf32", ["TF32"]),
        ("float16", ["FP16", "TF32"]),
        ("bfloat16", ["BF16", "TF32"]),
    ],
)
def test_every_precision_sets_its_flags_and_clears_all_others(
    precision: Any, flags: list[str], machine: Machine, tmp_path: Path
) -> None:
    request = replace(TENSORRT.request(graphs.add(), tmp_path), precision=precision)

    assert described(build_engine(request))["flags"] == flags


@pytest.mark.parametrize(
    ("options", "device_memory_bytes", "want"),
    [
        ((), None, (3, None)),
        ((("optimization_level", 5),), None, (5, None)),
        ((("workspace_mebibytes", 3),), None, (3, 3 << 20)),
        ((("workspace_mebibytes", "all"),), 1 << 30, (3, 1 << 30)),
        ((("workspace_mebibytes", 2048),), 1 << 30, (3, 1 << 30)),
        ((("workspace_mebibytes", 512),), 1 << 30, (3, 512 << 20)),
    ],
)
def test_level_and_workspace_reach_the_builder(
    options: Any, device_memory_bytes: int | None, want: tuple[int, int | None], machine: Machine, tmp_path: Path
) -> None:
    request = replace(
        TENSORRT.request(graphs.add(), tmp_path), options=options, device_memory_bytes=device_memory_bytes
    )

    found = described(build_engine(request))

    assert (found["level"], found["workspace"]) == want
