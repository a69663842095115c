"""ATC as a program: what it is told, what comes of it, and what is left behind."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest

import doubles.atc_program
from doubles.ascend_runtimes import presented
from doubles.npus import CHIP
from doubles.offline_models import OfflineModel
from hpi_agent.convert.atc import compile_with_atc, written_shapes
from hpi_agent.engines.base import Device, EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import EngineFailed, Refused
from models import graphs
from support.arrays import assert_arrays_equal

TESTS = Path(doubles.atc_program.__file__).parents[1]
SECONDS = 60.0

ATC = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from doubles.atc_program import main
sys.exit(main(sys.argv[1:]))
"""


def program(directory: Path, code: str = ATC) -> str:
    """Return the path of a program that runs some Python."""
    path = directory / "atc"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def compile_add(directory: Path, atc: str, **more: object) -> Path:
    output = directory / "made" / "add.om"
    output.parent.mkdir(exist_ok=True)
    arguments = {"chip": CHIP, "shapes": {"x": (2, 3)}, "precision": "float32", "timeout_seconds": SECONDS, **more}
    compile_with_atc(graphs.add().save(directory), output, atc=atc, **arguments)  # type: ignore[arg-type]
    return output


# What it makes.


def test_an_onnx_file_becomes_an_offline_model_that_answers_rightly(tmp_path: Path) -> None:
    model = graphs.add()
    made = compile_add(tmp_path, program(tmp_path))
    feeds = {"x": np.random.default_rng(5).random((2, 3)).astype(np.float32)}

    with presented(), load_engine(EngineRequest(made, "om", 1, device=Device("npu", 0))) as engine:
        answer = engine.infer(feeds)

    assert_arrays_equal(answer, model.answer(feeds))


@pytest.mark.parametrize(("precision", "mode"), [("float32", "origin"), ("float16", "fp16")])
def test_the_precision_is_said_to_atc_in_its_own_words(precision: str, mode: str, tmp_path: Path) -> None:
    made = compile_add(tmp_path, program(tmp_path), precision=precision)

    assert OfflineModel.from_bytes(made.read_bytes()).mode == mode


def test_only_the_offline_model_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    made = compile_add(tmp_path, program(tmp_path))

    assert [path.name for path in made.parent.iterdir()] == ["add.om"]
    assert {path.name for path in tmp_path.iterdir()} == {"atc", "add.onnx", "made"}


def test_a_model_that_is_there_is_replaced_by_the_new_one_alone(tmp_path: Path) -> None:
    first = compile_add(tmp_path, program(tmp_path)).read_bytes()
    with pytest.raises(EngineFailed):
        compile_add(tmp_path, program(tmp_path), chip="Ascend000")
    kept = (tmp_path / "made" / "add.om").read_bytes()

    second = compile_add(tmp_path, program(tmp_path), chip="Ascend910B3").read_bytes()

    assert kept == first != second


def test_a_name_with_system_and_architecture_is_found_too(tmp_path: Path) -> None:
    renaming = ATC.replace("sys.exit(main(sys.argv[1:]))", "code = main(sys.argv[1:])") + (
        "\nimport pathlib, platform; "
        "pathlib.Path('model.om').rename(f'model_linux_{platform.machine()}.om'); sys.exit(code)"
    )

    made = compile_add(tmp_path, program(tmp_path, renaming))

    assert made.is_file()


# Failures.


def test_what_atc_says_of_a_failure_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        EngineFailed,
        match=r"(?s)atc ended with exit code 255 while it compiled .*add\.onnx; it said:\n.*E10001: Value \[Ascend0",
    ):
        compile_add(tmp_path, program(tmp_path), chip="Ascend000")


def test_shapes_of_another_input_are_told(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"Opname \[z\] specified in \[--input_shape\] is not found in the model"):
        compile_add(tmp_path, program(tmp_path), shapes={"z": (2, 3)})


def test_a_program_that_does_not_end_is_killed_at_its_deadline(tmp_path: Path) -> None:
    hanging = "print('tuning', flush=True)\nimport time\ntime.sleep(600)"

    with pytest.raises(EngineFailed, match=r"(?s)did not end within 1 s and was killed .*it said:\n  tuning"):
        compile_add(tmp_path, program(tmp_path, hanging), timeout_seconds=1.0)

    assert list((tmp_path / "made").iterdir()) == []


def test_a_program_that_is_not_there_fails_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"none cannot be started: No such file .*; install CANN's toolkit"):
        compile_add(tmp_path, str(tmp_path / "none"))


def test_a_program_that_makes_nothing_fails_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"(?s)ended well and made no offline model .* it said:\n  done"):
        compile_add(tmp_path, program(tmp_path, "print('done')"))


def test_a_program_that_makes_something_else_fails_and_publishes_nothing(tmp_path: Path) -> None:
    code = "open('model.om', 'w').write('sorry')"

    with pytest.raises(EngineFailed, match=r"model\.om is cut short or no offline model"):
        compile_add(tmp_path, program(tmp_path, code))

    assert list((tmp_path / "made").iterdir()) == []


# What is never said to it.


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({"x": (1, 3, 48, 320)}, "x:1,3,48,320"),
        ({"image": (1, 3), "scale": (1, 2)}, "image:1,3;scale:1,2"),
        ({"k": (), "x": (6, 2)}, "k:;x:6,2"),
    ],
)
def test_shapes_are_written_as_atc_reads_them(shapes: dict[str, tuple[int, ...]], text: str) -> None:
    assert written_shapes(shapes) == text


@pytest.mark.parametrize("name", ["a:b", "a;b", "a,b", ""])
def test_a_name_that_atc_would_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="its name must have no ':', ';' and ','"):
        written_shapes({name: (1,)})


@pytest.mark.parametrize("shape", [(0, 3), (-1, 3)])
def test_a_shape_that_is_not_fixed_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Refused, match="an offline model has fixed shapes, every dimension at least 1"):
        written_shapes({"x": shape})


@pytest.mark.parametrize("chip", ["", "Ascend 310", "a\nb", "x" * 65, "$(id)"])
def test_a_chip_that_is_no_name_is_refused(chip: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a chip is named as ATC takes it"):
        compile_add(tmp_path, program(tmp_path), chip=chip)


def test_an_output_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"has a name that ends in \.om"):
        compile_with_atc(
            tmp_path / "a.onnx", tmp_path / "a", chip=CHIP, shapes={}, precision="float16", timeout_seconds=1
        )
