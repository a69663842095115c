"""Fetching from hubs and registries into a store whose disk fills up: on a real small disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import hubs_on_a_small_disk


@pytest.mark.parametrize("scheme", ["hf", "modelscope", pytest.param("oci", marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_costs_what_had_not_come(scheme: str, tmp_path: Path) -> None:
    for name in ("disk", "registry"):
        (tmp_path / name).mkdir()
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    program = [
        sys.executable,
        str(hubs_on_a_small_disk.__file__),
        scheme,
        str(tmp_path / "disk"),
        str(tmp_path / "registry"),
    ]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}

    done = subprocess.run(["unshare", "--mount", *own_users, *program], capture_output=True, text=True, env=variables)

    assert done.returncode == 0, done.stderr
    full, again = [json.loads(line) for line in done.stdout.splitlines()]
    assert "No space left on device" in full["failed"]
    assert "hpi-agent store gc --max-bytes SIZE" in full["failed"]
    assert (full["damage"], full["entries"]) == ([], [])
    assert full["partBytes"] > 0
    assert again["asked"] == [f"bytes={full['partBytes']}-"]
    assert (again["failed"], again["right"], again["tmp"]) == (None, True, 0)
