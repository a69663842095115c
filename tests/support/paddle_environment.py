"""Where tests find a Python that has paddle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpi_agent.plugins.environment import find_environment
from hpi_agent.store.directory import Store
from support.project import ROOT

VARIABLE = "HPI_PADDLE_PYTHON"
STORE_VARIABLE = "HPI_TEST_STORE"
VARIANT = "paddle2onnx"


def paddle_python() -> Path:
    """Return the Python that `HPI_PADDLE_PYTHON` names, else that of the environment that `make set-up` installs."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    store = Store(Path(os.environ.get(STORE_VARIABLE) or ROOT / "build" / "store"))
    environment = find_environment(store, VARIANT)
    if environment is None:
        pytest.fail(
            f"these tests need paddle, and {store.root} has no environment {VARIANT!r}; "
            f"run `hpi-agent install {VARIANT} --store {store.root}`, or let {VARIABLE} name a Python that has "
            "paddlepaddle 3.2.2",
            pytrace=False,
        )
    return environment.python
