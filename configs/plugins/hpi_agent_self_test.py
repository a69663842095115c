#!/usr/bin/env python3
"""Self-test of the variant `hpi-agent`: import whatever an agent imports that is not of pure Python.

    python -I hpi_agent_self_test.py REPORT

Runs inside the new environment and needs nothing else. The report is one JSON object; exit status 0 means passed.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Final

IMPORTED: Final = (
    "botocore.auth",
    "fastapi",
    "numpy",
    "orjson",
    "PIL.Image",
    "prometheus_client",
    "pybase64",
    "pydantic_core",
    "pynvml",
    "rich.console",
    "urllib3",
    "uvicorn",
    "uvloop",
    "yaml",
)
"""A library of the machine that one of them lacks is missed here, and not by the first request."""


def main() -> None:
    """Run the test and write the report."""
    for module in IMPORTED:
        importlib.import_module(module)
    Path(sys.argv[1]).write_text(json.dumps({"imported": IMPORTED}))


if __name__ == "__main__":
    main()
