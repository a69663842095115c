"""What `hpi_agent.pipelines.paddlex` takes for granted about PaddleX; these fail when upstream moves.

PaddleX is imported in processes of their own: an import cannot be undone, and the activation has to come first.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hpi_agent.pipelines import paddlex
from hpi_core.errors import Stop

PRELUDE = """
    import sys
    from pathlib import Path
    from hpi_agent.engines.registry import load_engine
    from hpi_agent.engines.shelf import Shelf
    from hpi_agent.pipelines import paddlex as ours
    cache = Path(sys.argv[1])
"""

ACTIVATE = PRELUDE + "\n    shelf = Shelf(2, True, load_engine)\n    ours.activate(shelf, cache)\n"


def run(program: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(cache)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PADDLE_PDX_CACHE_HOME": str(cache), **environment},
    )


def succeed(program: str, cache: Path) -> str:
    done = run(program, cache)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_installed_version_is_the_one_that_the_code_is_written_against() -> None:
    assert importlib.metadata.version("paddlex") == paddlex.PADDLEX_VERSION


def test_another_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hpi_agent.engines.registry import load_engine
    from hpi_agent.engines.shelf import Shelf

    monkeypatch.setattr(paddlex, "PADDLEX_VERSION", "99.0")

    with pytest.raises(Stop, match=r"written against paddlex 99\.0, found 3\.7\.2"):
        paddlex.activate(Shelf(1, True, load_engine), tmp_path)


def test_upstream_still_refuses_a_second_engine_of_that_name(tmp_path: Path) -> None:
    program = PRELUDE + """
    ours._HeadlessOpenCV.install()
    from paddlex.inference.models.engines import InferenceEngine
    from paddlex.inference.models.engines.hpi import HPIEngine
    assert InferenceEngine.all()["hpi"] is HPIEngine
    try:
        type("Second", (HPIEngine,), {"entities": "hpi"})
    except Exception as error:
        print(type(error).__name__)
    """
    assert succeed(program, tmp_path) == "DuplicateRegistrationError"


def test_both_doors_of_upstream_still_ask_for_ultra_infer(tmp_path: Path) -> None:
    program = PRELUDE + """
    ours._HeadlessOpenCV.install()
    from paddlex.inference.models.engines.hpi import HPIEngine
    from paddlex.inference.models.runners.hpi import HPIRunner
    for door in (lambda: HPIEngine().ensure_environment(), lambda: HPIRunner(model_dir=".", model_file_prefix="a", config=None)):
        try:
            door()
        except Exception as error:
            print("ultra-infer" in str(error) or "ultra_infer" in str(error))
    """
    assert succeed(program, tmp_path).split() == ["True", "True"]


def test_after_the_activation_the_engine_is_ours_and_the_first_one_is_gone(tmp_path: Path) -> None:
    program = ACTIVATE + """
    from paddlex.inference.models import _get_inference_engine
    from paddlex.inference.models.engines import InferenceEngine
    engine = _get_inference_engine("hpi")
    engine.ensure_environment()
    print(type(engine).__module__, engine.name, engine.get_supported_model_formats())
    ours.activate(Shelf(1, True, load_engine), cache)
    print(InferenceEngine.all()["hpi"] is type(engine), type(engine).shelf.default_threads)
    """
    first, second = succeed(program, tmp_path).splitlines()

    assert first == "hpi_agent.pipelines.paddlex hpi ('onnx',)"
    assert second == "True 1"


def test_an_unknown_setting_is_refused_where_upstream_drops_it(tmp_path: Path) -> None:
    program = ACTIVATE + """
    from paddlex.inference.models import normalize_engine_config
    try:
        normalize_engine_config("hpi", {"bakend": "openvino"}, model_name="m", device="cpu")
    except Exception as error:
        print(type(error).__name__, error)
    """
    assert succeed(program, tmp_path) == (
        "Refused hpi_config of m: 'bakend' is not a known setting; did you mean 'backend'?"
    )


def test_a_device_that_is_not_served_is_refused(tmp_path: Path) -> None:
    program = ACTIVATE + """
    from paddlex.inference.models import normalize_engine_config
    try:
        normalize_engine_config("hpi", {}, model_name="m", device="gpu:0")
    except Exception as error:
        print(type(error).__name__, error)
    """
    assert succeed(program, tmp_path) == "Refused device 'gpu' is not served by this release; allowed: 'cpu'"


def test_the_headless_opencv_is_accepted_for_the_full_one(tmp_path: Path) -> None:
    program = ACTIVATE + """
    from paddlex.utils.deps import is_dep_available, is_extra_available
    print(is_dep_available("opencv-contrib-python"), is_extra_available("ocr-core"))
    """
    assert succeed(program, tmp_path) == "True True"


def test_neither_the_import_nor_a_picture_reaches_out_to_a_network(tmp_path: Path) -> None:
    program = """
    import socket, sys
    def watch(event, arguments):
        if event == "socket.connect" or event == "socket.getaddrinfo":
            print("REACHED OUT", event, arguments[-1] if event == "socket.connect" else arguments[0])
    sys.addaudithook(watch)
    """ + ACTIVATE + """
    import numpy
    from paddlex.inference.pipelines.ocr.result import OCRResult
    from paddlex.utils.fonts import SIMFANG_FONT
    print(Path(SIMFANG_FONT.path).is_file(), Path(SIMFANG_FONT.path).name)
    """
    assert succeed(program, tmp_path) == "True DejaVuSans.ttf"
