"""Versions of backends, read without importing them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from hpi_agent.engines.registry import DISTRIBUTIONS, LOADERS, runtime_version
from hpi_core.formats import BACKENDS, Backend

ASK_AND_SAY = """
import sys
from hpi_agent.engines.registry import runtime_version
from hpi_core.formats import BACKENDS
versions = [runtime_version(backend) for backend in BACKENDS]
print(sorted({'onnxruntime', 'openvino', 'paddle'} & set(sys.modules)))
"""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_version_of_a_backend_is_that_of_its_package(backend: Backend) -> None:
    assert runtime_version(backend) == version(DISTRIBUTIONS[backend])


def test_a_backend_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISTRIBUTIONS, "paddle", "a-package-that-nobody-installs")

    assert runtime_version("paddle") is None


def test_asking_for_versions_imports_no_backend() -> None:
    printed = subprocess.run([sys.executable, "-c", ASK_AND_SAY], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


def test_every_backend_can_be_asked_for() -> None:
    assert set(LOADERS) == set(DISTRIBUTIONS) == set(BACKENDS)
