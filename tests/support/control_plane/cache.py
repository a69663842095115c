"""The cache of built programs: one folder per recipe, there when it is complete and not before.

    <cache>/hpi/test-programs/kubernetes-v1.34.4-x86_64-<digest>/   the programs and manifest.json
    <cache>/hpi/test-programs/<name>.lock                           held by whoever builds that folder
    <cache>/hpi/test-programs/.<name>.…/                            unfinished; the next builder removes it

It lies outside the checkout, so that a fresh clone finds what an earlier one built.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Stop

MANIFEST: Final = "manifest.json"

Say = Callable[[str], None]
"""Takes one line of progress."""


def cache_root(environment: Mapping[str, str]) -> Path:
    """Return where built programs are kept: below `$XDG_CACHE_HOME`, else below `~/.cache`."""
    named = environment.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and must be ignored.
    caches = Path(named) if os.path.isabs(named) else Path(environment.get("HOME") or Path.home()) / ".cache"
    return caches / "hpi" / "test-programs"


@dataclass(frozen=True)
class Folder:
    """The place of one thing in the cache: a folder of programs that some document describes in full."""

    root: Path
    name: str
    document: Mapping[str, Any]
    """What the programs are made of; the manifest must say the same."""
    programs: tuple[str, ...]
    """Paths of the programs, relative to the folder."""

    @property
    def path(self) -> Path:
        """Where the finished folder is."""
        return self.root / self.name

    def problem(self) -> str | None:
        """Return why the folder cannot be used, None if it can: complete, and every program as it was built."""
        if not self.path.is_dir():
            return f"{self.path} is not there"
        try:
            manifest = json.loads((self.path / MANIFEST).read_bytes())
            if manifest["madeOf"] != self.document:
                return f"{self.path / MANIFEST} tells of something else"
            differing = [name for name in self.programs if manifest["sha256"][name] != digest_file(self.path / name)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{self.path} is damaged ({type(error).__name__}: {error})"
        return f"{self.path} is damaged: {', '.join(differing)} changed after the build" if differing else None

    @contextlib.contextmanager
    def locked(self, say: Say) -> Iterator[None]:
        """Hold the folder's lock; wait for whoever builds it now, and say so."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The file stays: removing it would let two builders hold two locks of one name.
        with (self.root / f"{self.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"another process makes {self.path}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def publish(self, write: Callable[[Path], Mapping[str, Any]]) -> None:
        """Let the folder be written aside, check it, flush it and put it in its place. The lock must be held.

        Args:
            write: Writes the programs to the folder that it is given and returns facts for the manifest.

        Raises:
            Stop: A program is missing after all.
        """
        for leftover in self.root.glob(f".{self.name}.*"):
            shutil.rmtree(leftover)
        aside = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.root))
        try:
            facts = write(aside)
            missing = [name for name in self.programs if not os.access(aside / name, os.X_OK)]
            if missing:
                raise Stop(f"the build of {self.name} ended without {', '.join(missing)}; read its output above")
            digests = {name: digest_file(aside / name) for name in self.programs}
            manifest = {**facts, "madeOf": self.document, "sha256": digests}
            (aside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for path in (*(aside / name for name in self.programs), aside / MANIFEST, aside):
                flush(path)
            if self.path.exists():  # Damaged, or it would not be built again.
                shutil.rmtree(self.path)
            aside.rename(self.path)
            flush(self.root)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[attr-defined,no-any-return]


def flush(path: Path) -> None:
    """Bring a file or folder to the disk, so that a power cut after the rename finds it whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
