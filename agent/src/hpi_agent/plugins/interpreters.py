"""Interpreters of this machine: what one is, and which ones there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.plugins.clean_environment import without_python_variables

PROBE_SECONDS: Final = 20
MAX_PROBES: Final = 32
"""Most interpreters that one search runs."""
MAX_ANSWER_CHARACTERS: Final = 300

PROBE: Final = """
import json, os, platform, struct, sys, sysconfig
lacks = None
for module in ("venv", "ensurepip", "ssl", "zlib"):
    try:
        __import__(module)
    except ImportError:
        lacks = lacks or module
try:
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
except (AttributeError, ValueError, OSError, IndexError):
    glibc = None
print(json.dumps({
    "path": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "implementation": platform.python_implementation(), "version": "%d.%d.%d" % sys.version_info[:3],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")), "bits": struct.calcsize("P") * 8,
    "platform": sys.platform, "architecture": platform.machine(), "glibc": glibc, "lacks": lacks}))
"""
"""Runs on any Python from 2.7 on, so that an old one can say what it is."""


@dataclass(frozen=True)
class Interpreter:
    """One Python, as it describes itself."""

    path: Path
    """Its file, no virtual environment and no link: what an environment made with it depends on."""
    implementation: str
    """`CPython`, `PyPy` …"""
    version: str
    """Such as `3.11.7`."""
    free_threaded: bool
    """Whether it was built without the GIL."""
    bits: int
    platform: str
    """`linux`, `darwin` …"""
    architecture: str
    """`x86_64`, `aarch64` …"""
    glibc: str | None
    """Version of the GNU C library that it runs with; None: another C library."""
    lacks: str | None
    """A module of the standard library that is needed and not there; None: all are."""

    @property
    def feature_version(self) -> str:
        """Such as `3.11`."""
        return ".".join(self.version.split(".")[:2])


def probe(path: Path | str, environment: Mapping[str, str]) -> Interpreter | str:
    """Return what a Python says of itself, or why it says nothing.

    Each candidate is run, not only looked up: version managers put commands on PATH that exist and do not work.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a program that the user named or has on PATH, no shell
            [str(path), "-E", "-s", "-c", PROBE],
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=without_python_variables(environment),
        )
    except subprocess.TimeoutExpired:
        return f"gave no answer within {PROBE_SECONDS} s"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        return Interpreter(**{**answer, "path": Path(answer["path"])})
    except (ValueError, TypeError, KeyError):
        text = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
        return f"is no Python that works: {(text.splitlines() or ['it said nothing'])[0][:MAX_ANSWER_CHARACTERS]}"


def candidates(versions: Iterable[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield this program's own Python, then those on PATH, in the order of the versions; at most `MAX_PROBES`.

    Args:
        versions: Such as `3.11`, the most wanted first.
        environment: Where `PATH` is read.
    """
    own = Path(getattr(sys, "_base_executable", sys.executable))
    found = [own]
    folders = [Path(folder) for folder in environment.get("PATH", "").split(os.pathsep) if folder]
    for name in [*(f"python{version}" for version in versions), "python3", "python"]:
        found += [folder / name for folder in folders if os.access(folder / name, os.X_OK)]
    yield from list(dict.fromkeys(found))[:MAX_PROBES]


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as `2.28`, for comparison."""
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
