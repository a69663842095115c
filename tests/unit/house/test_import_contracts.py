"""Who may import whom: the contracts hold, and each of them catches what it is there to catch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.project import ROOT, pyproject

SOURCES = ("crds/src", "operator/src", "agent/src")

PLANTED = {
    "crds/src/hpi_core/digest.py": ["import socket"],
    "agent/src/hpi_agent/engines/base.py": ["import hpi_agent.serve", "import hpi_operator"],
    "operator/src/hpi_operator/plan/intent.py": [
        "import hpi_operator.act",
        "import kopf",
        "import kubernetes",
        "import time",
    ],
    "agent/src/hpi_agent/engines/openvino.py": ["import hpi_agent.engines.onnxruntime"],
    "agent/src/hpi_agent/configuration.py": [
        "import paddlex",
        "import uvicorn",
        "import cv2",
        "import asyncio",
        "import botocore",
    ],
}
"""Lines that no contract allows, by the file that they are written to."""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    sources = os.pathsep.join(str(root / source) for source in SOURCES)
    environment = {**os.environ, "PYTHONPATH": sources, "COLUMNS": "200"}
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_every_import_contract_is_kept() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_import_contract_catches_a_planted_breach(tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, lines in PLANTED.items():
        with (tmp_path / file).open("a") as stream:
            stream.writelines(f"\n{line}\n" for line in lines)

    done = lint_imports(tmp_path)

    kept = [
        contract["name"]
        for contract in pyproject()["tool"]["importlinter"]["contracts"]
        if f"{contract['name']} BROKEN" not in done.stdout
    ]
    assert kept == [], done.stdout + done.stderr
