"""Publication of whole directories: written aside, flushed, digested, renamed; verified before every use.

One key has one writer at a time: it holds `locks/<kind>-<key>`, which the kernel frees when its holder dies, and writes
in `tmp/<kind>-<key>`. Whoever gets the lock therefore knows that what lies there was abandoned. Readers take no lock: a
sound directory never changes.

The store grows into the cache of engines; this release keeps assembled model directories in it (`models/<digest>/`) and
the compile caches of runtimes (`compiled/<key>/`, which the runtimes themselves write and check).
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Bug, Refused, Stop

MANIFEST: Final = "manifest.json"
CHUNK_BYTES: Final = 1_048_576

MAX_ABANDONED: Final = 64
"""Most entries of `tmp/` that one publication looks at when it clears up behind writers that died."""


def default_store_root(environment: dict[str, str]) -> Path:
    """Return `$HPI_STORE`, else `$XDG_CACHE_HOME/hpi`, else `~/.cache/hpi` (XDG Base Directory Specification 0.8)."""
    if environment.get("HPI_STORE"):
        return Path(environment["HPI_STORE"])
    cache = environment.get("XDG_CACHE_HOME")
    # The specification says that a relative path in the variable must be ignored.
    base = Path(cache) if cache and Path(cache).is_absolute() else Path(environment.get("HOME", "/")) / ".cache"
    return base / "hpi"


def digest_of_file(path: Path) -> str:
    """Return `sha256:<hex>` of a file's bytes."""
    with path.open("rb") as file:
        return digest_of_bytes(iter(lambda: file.read(CHUNK_BYTES), b""))


@dataclass(frozen=True)
class Store:
    """One store; several processes may use it at once."""

    root: Path

    def publish(self, kind: str, key: str, write: Callable[[Path], None]) -> Path:
        """Return the complete directory `<kind>/<key>`, made by `write` unless a sound one is there already.

        Of several processes that publish one key at once, one writes and the others wait for it.

        Args:
            kind: Folder inside the store.
            key: `sha256:<hex>` that names everything that shaped the content.
            write: Fills an empty directory with regular files. Called at most once.

        Raises:
            Stop: The store cannot be written (read-only, full), with the path and what to do.
        """
        target = self.root / kind / key.removeprefix("sha256:")
        name = f"{kind}-{target.name}"
        try:
            if not os.path.lexists(target) or find_damage(target) is not None:
                with self._lock(name, wait=True):
                    self._replace(target, self.root / "tmp" / name, write)
                    self._remove_abandoned()
        except OSError as error:
            raise self._unusable(error) from error
        return target

    def _replace(self, target: Path, staging: Path, write: Callable[[Path], None]) -> None:
        if os.path.lexists(target):
            problem = find_damage(target)
            if problem is None:
                # Another process published it while this one waited for the lock.
                return
            self._quarantine(target, problem)
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir(parents=True, mode=0o755)
        try:
            write(staging)
            _seal(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            staging.rename(target)
            _flush(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold one lock of the store.

        Raises:
            BlockingIOError: Somebody else holds it and `wait` is false.
        """
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file is never deleted: a waiting process would get the lock of a file that others no longer see.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def _remove_abandoned(self) -> None:
        """Delete what writers that died have left; those at work hold the locks of theirs."""
        # What cannot be deleted now is left for the next publication: this one has succeeded.
        with contextlib.suppress(OSError):
            for staging in itertools.islice((self.root / "tmp").iterdir(), MAX_ABANDONED):
                with contextlib.suppress(BlockingIOError), self._lock(staging.name, wait=False):
                    shutil.rmtree(staging, ignore_errors=True)

    def _unusable(self, error: OSError) -> Stop:
        place = error.filename2 or error.filename
        return Stop(
            f"the store {self.root} cannot be used: {error.strerror or error}{f' ({place})' if place else ''}; "
            "make room there, or name another directory with --store DIR or $HPI_STORE"
        )

    def _quarantine(self, target: Path, problem: str) -> None:
        place = self.root / "quarantine" / f"{target.parent.name}-{target.name[:16]}-{secrets.token_hex(4)}"
        place.parent.mkdir(parents=True, exist_ok=True)
        target.rename(place)
        place.with_suffix(".reason").write_text(problem + "\n", encoding="utf-8")

    def compile_cache(self, key: str) -> Path:
        """Return the directory in which a runtime keeps what it compiled for one key; made when missing.

        Raises:
            Stop: The directory cannot be made.
        """
        path = self.root / "compiled" / key.removeprefix("sha256:")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        return path


def find_damage(directory: Path) -> str | None:
    """Return what is wrong with a published directory, or None: files and digests are exactly the manifest's."""
    try:
        for path in (directory, directory / MANIFEST):
            if path.is_symlink():
                return f"{path.name} is a symbolic link"
        manifest: Any = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        expected: dict[str, str] = dict(manifest["files"])
        found = {path.name for path in directory.iterdir()} - {MANIFEST}
        if found != set(expected):
            return f"holds {sorted(found)}, the manifest lists {sorted(expected)}"
        for name, digest in expected.items():
            path = directory / name
            if path.is_symlink() or not path.is_file():
                return f"{name} is not a regular file"
            if (seen := digest_of_file(path)) != digest:
                return f"{name} has {seen}, the manifest says {digest}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"the manifest cannot be read: {error}"
    return None


def _seal(directory: Path) -> None:
    paths = sorted(directory.iterdir())
    if any(path.is_symlink() or not path.is_file() for path in paths):
        raise Bug(f"only regular files can be published, got {[path.name for path in paths]}")
    files = {path.name: digest_of_file(path) for path in paths}
    if MANIFEST in files:
        raise Refused(f"{MANIFEST} is the store's own name; a model must not bring a file of that name")
    (directory / MANIFEST).write_text(json.dumps({"files": files}, indent=1, sort_keys=True), encoding="utf-8")
    for path in _children_then_self(directory):
        _flush(path)


def _children_then_self(directory: Path) -> Iterator[Path]:
    yield from directory.iterdir()
    yield directory


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
