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
from support.images import text_page

PRELUDE = """
    import sys
    from pathlib import Path
    from hpi_agent.engines.shelf import Choice, Shelf
    from hpi_agent.pipelines import paddlex as ours
    cache = Path(sys.argv[1])
"""

ACTIVATE = PRELUDE + "\n    shelf = Shelf(lambda *_: Choice(()))\n    ours.activate(shelf, cache)\n"


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
    from hpi_agent.engines.shelf import Choice, Shelf

    monkeypatch.setattr(paddlex, "PADDLEX_VERSION", "99.0")

    with pytest.raises(Stop, match=r"written against paddlex 99\.0, found 3\.7\.2"):
        paddlex.activate(Shelf(lambda *_: Choice(())), tmp_path)


def test_upstream_still_refuses_a_second_engine_of_that_name(tmp_path: Path) -> None:
    program = (
        PRELUDE
        + """
    ours._HeadlessOpenCV.install()
    from paddlex.inference.models.engines import InferenceEngine
    from paddlex.inference.models.engines.hpi import HPIEngine
    assert InferenceEngine.all()["hpi"] is HPIEngine
    try:
        type("Second", (HPIEngine,), {"entities": "hpi"})
    except Exception as error:
        print(type(error).__name__)
    """
    )
    assert succeed(program, tmp_path) == "DuplicateRegistrationError"


def test_both_doors_of_upstream_still_ask_for_ultra_infer(tmp_path: Path) -> None:
    program = (
        PRELUDE
        + """
    ours._HeadlessOpenCV.install()
    from paddlex.inference.models.engines.hpi import HPIEngine
    from paddlex.inference.models.runners.hpi import HPIRunner
    doors = (HPIEngine().ensure_environment, lambda: HPIRunner(model_dir=".", model_file_prefix="a", config=None))
    for door in doors:
        try:
            door()
        except Exception as error:
            print("ultra-infer" in str(error) or "ultra_infer" in str(error))
    """
    )
    assert succeed(program, tmp_path).split() == ["True", "True"]


def test_after_the_activation_the_engine_is_ours_and_the_first_one_is_gone(tmp_path: Path) -> None:
    program = (
        ACTIVATE
        + """
    from paddlex.inference.models import _get_inference_engine
    from paddlex.inference.models.engines import InferenceEngine
    engine = _get_inference_engine("hpi")
    engine.ensure_environment()
    print(type(engine).__module__, engine.name, engine.get_supported_model_formats())
    other = Shelf(lambda *_: Choice(()))
    ours.activate(other, cache)
    print(InferenceEngine.all()["hpi"] is type(engine), type(engine).shelf is other)
    """
    )
    first, second = succeed(program, tmp_path).splitlines()

    assert first == "hpi_agent.pipelines.paddlex hpi ('onnx', 'paddle', 'om')"
    assert second == "True True"


def test_an_unknown_setting_is_refused_where_upstream_drops_it(tmp_path: Path) -> None:
    program = (
        ACTIVATE
        + """
    from paddlex.inference.models import normalize_engine_config
    try:
        normalize_engine_config("hpi", {"bakend": "openvino"}, model_name="m", device="cpu")
    except Exception as error:
        print(type(error).__name__, error)
    """
    )
    assert succeed(program, tmp_path) == (
        "Refused hpi_config of m: 'bakend' is not a known setting; did you mean 'backend'?"
    )


def test_a_device_that_is_not_served_is_refused_and_every_other_one_is_taken(tmp_path: Path) -> None:
    program = (
        ACTIVATE
        + """
    from paddlex.inference.models import normalize_engine_config
    for device in ("cpu", "gpu:1", "npu:0"):
        config = normalize_engine_config("hpi", {}, model_name="m", device=device)
        print(config["device_type"], config.get("device_id"))
    try:
        normalize_engine_config("hpi", {}, model_name="m", device="xpu:0")
    except Exception as error:
        print(type(error).__name__, error)
    """
    )
    assert succeed(program, tmp_path).splitlines() == [
        "cpu None",
        "gpu 1",
        "npu 0",
        "Refused device 'xpu' is not served by this release; allowed: cpu, gpu, npu",
    ]


def test_a_pipeline_on_a_gpu_is_made_without_paddle_and_answers_on_the_engines_of_the_shelf(tmp_path: Path) -> None:
    program = """
    import dataclasses, json, sys
    from pathlib import Path
    from hpi_agent.building import choice, device_access
    from hpi_agent.engines.base import CPU, Device
    from hpi_agent.serve import served
    import yaml
    from hpi_agent.configuration import configs_directory

    cpu_site, asked = served.read_site, []
    def read_site(store, threads, samples, device):
        site = cpu_site(store, threads, samples)
        accelerator = dataclasses.replace(A_GPU)
        return dataclasses.replace(
            site, device=device, hardware=dataclasses.replace(site.hardware, accelerator=accelerator),
            device_runtimes={"onnxruntime": "1.0"}, access=device_access.DeviceAccess(Device("gpu"), {"SEEN": "yes"}),
        )
    def load(request):
        asked.append(str(request.device))
        return real_load(dataclasses.replace(request, device=CPU, options=(), threads=2))
    from support.key_documents import A_GPU
    real_load, choice.load_engine = choice.load_engine, load
    served.read_site = read_site

    text = yaml.safe_load((configs_directory() / "pipelines" / "ocr.yaml").read_text("utf-8"))
    text["spec"]["inference"] = {"device": "gpu:1"}
    opened = served.open_pipeline(served.Start(json.dumps(text), "ocr.yaml", Path(sys.argv[1]), 2))
    described = opened.describe()
    print(described["device"], asked, "paddle" in sys.modules)
    print([(model["asked"]["device"], model["engine"]) for model in described["models"]])
    import os
    print(os.environ["SEEN"])
    """
    done = run(program, tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "gpu:1 ['gpu:0', 'gpu:0'] False",
        "[('gpu:1', 'onnxruntime cuda'), ('gpu:1', 'onnxruntime cuda')]",
        "yes",
    ]


def test_an_inference_yml_may_hold_plain_data_alone(tmp_path: Path) -> None:
    (tmp_path / "inference.yml").write_text("Global: {model_name: m}\nPreProcess: !!python/tuple [1]\n")
    program = (
        ACTIVATE
        + """
    from paddlex.inference.models.utils.model_config import load_model_config
    try:
        load_model_config(cache)
    except Exception as error:
        print(type(error).__name__)
    (cache / "inference.yml").write_text("Global: {model_name: m}")
    print(load_model_config(cache))
    """
    )
    assert succeed(program, tmp_path).splitlines() == ["SourceFailed", "{'Global': {'model_name': 'm'}}"]


def test_a_font_that_is_not_there_stops_the_start_and_not_a_request(tmp_path: Path) -> None:
    done = run(ACTIVATE, tmp_path, PADDLE_PDX_LOCAL_FONT_FILE_PATH="/nowhere.ttf")

    assert done.returncode != 0
    assert "PADDLE_PDX_LOCAL_FONT_FILE_PATH names '/nowhere.ttf', which is no file" in done.stderr


def test_the_headless_opencv_is_accepted_for_the_full_one(tmp_path: Path) -> None:
    program = (
        ACTIVATE
        + """
    from paddlex.utils.deps import is_dep_available, is_extra_available
    print(is_dep_available("opencv-contrib-python"), is_extra_available("ocr-core"))
    """
    )
    assert succeed(program, tmp_path) == "True True"


def test_a_page_is_read_and_drawn_without_reaching_out_to_a_network(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(text_page("no network"))
    program = """
    import socket, sys
    from pathlib import Path
    def watch(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.fork"):
            print("REACHED OUT", event, arguments)
    sys.addaudithook(watch)
    from hpi_agent.configuration import configs_directory
    from hpi_agent.pipelines.ocr import Timings
    from hpi_agent.serve.served import Start, open_pipeline
    store = Path(sys.argv[1])
    manifest = (configs_directory() / "pipelines" / "ocr.yaml").read_text()
    task = open_pipeline(Start(manifest, "ocr.yaml", store, 2)).ocr()
    page = memoryview((store / "page.png").read_bytes())
    [read] = task.answer(page, "IMAGE", {}, True, Timings())["ocrResults"]
    print(read["prunedResult"]["rec_texts"], len(read["ocrImage"]) > 1000)
    """
    assert succeed(program, tmp_path) == "['no network'] True"
