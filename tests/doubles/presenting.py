"""Put the double of a runtime where `import` finds it, for as long as a test runs; nowhere else can it be imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Leak(AssertionError):
    """Something of a device was not given back."""


@contextmanager
def importable(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Have the modules of a folder found first.

    Args:
        folder: What goes on Python's path.
        names: Top-level modules that it has; they are forgotten at the end.

    Raises:
        RuntimeError: One of them is installed here: a double never takes the place of a runtime that is there.
    """
    for name in names:
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            raise RuntimeError(f"{name} can be imported here without its double; run these tests on the real one")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for loaded in [one for one in sys.modules if one.split(".")[0] in names]:
            del sys.modules[loaded]
        importlib.invalidate_caches()
