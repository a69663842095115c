"""Interpreters whose paddle believes to be on another machine."""

from __future__ import annotations

from pathlib import Path

from support.paddle_environment import paddle_python

DOUBLE = Path(__file__).parents[1] / "doubles" / "paddle_on_devices.py"


def paddle_python_on(machine: str, directory: Path) -> Path:
    """Return a Python that has the double of paddle on a machine.

    Args:
        machine: `gpu`, `gpu-without-tensorrt`, `npu` or `cpu`; see `doubles.paddle_on_devices`.
        directory: Where the interpreter is written.
    """
    interpreter = directory / f"python-on-{machine}"
    interpreter.write_text(f'#!/bin/sh\nexec "{paddle_python()}" -W ignore "{DOUBLE}" {machine} "$@"\n')
    interpreter.chmod(0o755)
    return interpreter
