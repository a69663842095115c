"""Sources that are fetched in tests: bytes of a model, a patience whose clock is a list, and a program that fetches.

python fetching.py STORE URL [DIGEST]    fetches; prints one JSON line for each progress, then where it lies
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpi_agent.models.sources.fetch import fetch
from hpi_agent.models.sources.fetched import Fetched, Progress
from hpi_agent.models.sources.limits import Limits
from hpi_agent.models.sources.patience import Patience, Timeouts
from hpi_agent.models.sources.settings import SourceRequest, SourceSettings
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Refused


def weights(size: int = 200_000, seed: int = 1) -> bytes:
    """Return bytes that stand for an ONNX file; no two pieces of them are alike."""
    return random.Random(seed).randbytes(size)


@dataclass
class Clock:
    """A clock that moves only when somebody sleeps, or by a step each time it is read."""

    step: float = 0.0
    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """Return the time."""
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Fetcher:
    """Fetches sources into one store."""

    root: Path
    clock: Clock = field(default_factory=Clock)
    progress: list[Progress] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of `SourceSettings` that differ."""
    patience: dict[str, Any] = field(default_factory=dict)
    """Fields of `Patience` that differ."""

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.root)

    def fetch(
        self, source: str, digest: str | None = None, *, credentials: str | None = None, endpoint: str | None = None
    ) -> Fetched:
        """Fetch one source; the model's digest is that of its ONNX file, or of all its files."""
        patience = Patience(
            **{"sleep": self.clock.sleep, "monotonic": self.clock.monotonic, "share": lambda: 1.0, **self.patience}
        )
        given = {
            "patience": patience,
            "timeouts": Timeouts(5.0, 5.0, 5.0),
            "limits": Limits(),
            "claims": None,
            **self.settings,
        }
        request = SourceRequest(source, endpoint, credentials, digest)
        check = checking(digest)
        return fetch(request, SourceSettings(**given), self.store, check=check, tell=self.progress.append)

    def files(self, fetched: Fetched) -> dict[str, bytes]:
        """Return the files of what was fetched."""
        path = fetched.located.path
        directory = path if path.is_dir() else path.parent
        return {entry.name: entry.read_bytes() for entry in directory.iterdir() if entry.name != "manifest.json"}

    def entries(self) -> list[str]:
        """Return the kinds of what the store has published."""
        return [entry.kind for entry in self.store.entries()]

    def left_over(self) -> list[str]:
        """Return what lies in the store's folder for unfinished things, without the files in it."""
        folder = self.root / "tmp"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def checking(wanted: str | None) -> Callable[[Path], str]:
    """Return a check like the one of assembly."""

    def check(directory: Path) -> str:
        digest = digest_in(directory)
        if wanted not in (None, digest):
            raise Refused(f"it has {digest}, the manifest demands {wanted}")
        return digest

    return check


def digest_in(directory: Path) -> str:
    """Return the digest of the ONNX file of a directory, or of all its files where there is none."""
    onnx = directory / "inference.onnx"
    if onnx.exists():
        return digest_of_file(onnx)
    return digest_of_bytes(path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "manifest.json")


def main(store: str, source: str, digest: str | None = None) -> None:
    """Fetch one source and tell of it."""
    check = checking(digest)

    def tell(progress: Progress) -> None:
        print(json.dumps([progress.done_bytes, progress.total_bytes, progress.is_waiting]), flush=True)

    fetched = fetch(SourceRequest(source, digest=digest), SourceSettings(), Store(Path(store)), check=check, tell=tell)
    print(json.dumps(str(fetched.located.path)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
