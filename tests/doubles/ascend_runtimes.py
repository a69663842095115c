"""pyACL where nobody has it: `presented()` puts its double in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from doubles.npus import Machine, reset
from doubles.presenting import Leak, importable

FOLDER: Final = Path(__file__).with_name("ascend") / "python" / "site-packages"
"""Where CANN has it below its own folder."""


@contextmanager
def presented() -> Iterator[Machine]:
    """Have a machine with NPUs, on which nothing is held at the beginning and at the end.

    Raises:
        Leak: Something is held at the end.
    """
    machine = reset()
    with importable(FOLDER, ("acl",)):
        yield machine
    if machine.held:
        raise Leak(f"not given back: {machine.held}")
