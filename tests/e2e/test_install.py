"""`hpi-agent install` as a person or a program types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpi_agent.configuration import configs_directory
from hpi_agent.plugins.environment import find_environment
from hpi_agent.store.directory import Store

USES_IT = "import paddle, paddle2onnx, onnx; print(paddle.__version__, paddle2onnx.__version__, onnx.__version__)"


def run_install(*words: str, seconds: int = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpi_agent", "install", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def test_an_unknown_variant_ends_with_2_and_names_the_nearest(tmp_path: Path) -> None:
    done = run_install("paddle2onxx", "--store", str(tmp_path))

    assert done.returncode == 2
    known = "hpi-agent, hpi-cpu, paddle2onnx"
    said = f"no plugin variant is called 'paddle2onxx'; known: {known}; did you mean 'paddle2onnx'?"
    assert done.stderr == f"hpi-agent install: {said}\n"


def test_a_python_that_does_not_fit_ends_with_2_and_says_what_it_is(tmp_path: Path) -> None:
    done = run_install("paddle2onnx", "--store", str(tmp_path), "--python", "/bin/true")

    assert done.returncode == 2
    assert "  /bin/true: is no Python that works: it said nothing\n" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_wheelhouse_ends_with_1_and_says_how_to_fill_it(tmp_path: Path) -> None:
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()

    done = run_install("paddle2onnx", "--store", str(tmp_path / "store"), "--wheelhouse", str(wheelhouse))

    assert done.returncode == 1
    assert re.search(r"\n  ERROR: No matching distribution found for anyio==", done.stderr)
    [told] = re.findall(r"-m pip download --no-deps --require-hashes -r (\S+) -d DIR", done.stderr)
    assert Path(told).parent == configs_directory() / "locks"


@pytest.mark.slow
def test_the_conversion_environment_is_installed_from_the_index_and_works(tmp_path: Path) -> None:
    first = run_install("paddle2onnx", "--store", str(tmp_path), "-o", "json", seconds=1800)
    again = run_install("paddle2onnx", "--store", str(tmp_path))

    assert first.returncode == 0, first.stdout + first.stderr
    events = {line["event"]: line for line in map(json.loads, first.stdout.splitlines())}
    assert events["tested"]["report"]["largestDifference"] < 1e-4
    assert events["fetching"]["number"] == events["fetching"]["of"]
    assert "it is there already" in again.stderr
    environment = find_environment(Store(tmp_path), "paddle2onnx")
    assert environment is not None
    assert events["installed"]["python"] == str(environment.python)
    answer = subprocess.run(
        [environment.python, "-IWignore", "-c", USES_IT], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [environment.versions[name] for name in ("paddlepaddle", "paddle2onnx", "onnx")]
    with_details = Store(tmp_path).open_tree("plugins", environment.python.parents[1].name)
    assert with_details is not None
    with with_details:
        with_details.verify()
