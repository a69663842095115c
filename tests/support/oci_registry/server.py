"""A real registry on loopback: open to everybody, or behind a password, or behind a token service."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from support.control_plane.process import Process
from support.oci_registry.recipe import find_registry

PATIENCE_SECONDS: Final = 30.0
"""How long a start may take; it takes 0.1 s."""

USER: Final = "reader"
PASSWORD: Final = "the password of the reader"  # noqa: S105 - of a registry that lives for one test
HTPASSWD: Final = f"{USER}:$2a$04$o.cVHDQT02yWmy59J5ODIODq9TY.6ATFjfruOsqibZOR2mllCRyy2\n"
"""The one account of a registry behind a password; the password is hashed by bcrypt, the only way that it takes."""


@dataclass(frozen=True)
class OciRegistry:
    """A running registry."""

    url: str
    """`http://127.0.0.1:PORT`."""
    folder: Path
    """Where it keeps its blobs."""
    log: Path

    @property
    def authority(self) -> str:
        """`127.0.0.1:PORT`."""
        return self.url.partition("://")[2]

    def blob_path(self, digest: str) -> Path:
        """Return the file with the bytes of a blob."""
        digits = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"


def with_password(folder: Path) -> dict[str, Any]:
    """Return the setting of a registry that asks for user and password (Basic)."""
    accounts = folder / "htpasswd"
    accounts.write_text(HTPASSWD, encoding="utf-8")
    return {"htpasswd": {"realm": "tests", "path": str(accounts)}}


@contextlib.contextmanager
def oci_registry(
    folder: Path, auth: Mapping[str, Any] | None = None, *, blobs_elsewhere: str | None = None
) -> Iterator[OciRegistry]:
    """Run a registry until the block ends.

    Args:
        folder: For its data and its log; must be there.
        auth: Who may do what; None: everybody everything.
        blobs_elsewhere: Base address to which it redirects whoever asks for a blob; None: it sends them itself.
    """
    configuration: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "formatter": "json"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": "127.0.0.1:0", "secret": "of these tests"},
    }
    if auth is not None:
        configuration["auth"] = dict(auth)
    if blobs_elsewhere is not None:
        configuration["middleware"] = {"storage": [{"name": "redirect", "options": {"baseurl": blobs_elsewhere}}]}
    (folder / "registry.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    # A log of its own: an earlier registry of the folder had another port.
    log = folder / f"registry-{len(list(folder.glob('*.log')))}.log"
    command = [str(find_registry(os.environ)), "serve", str(folder / "registry.yml")]
    # Without variables of the caller: OTEL_* would have it report, REGISTRY_* would change its configuration.
    process = Process("registry", command, directory=folder, log=log, environment={"OTEL_TRACES_EXPORTER": "none"})
    try:
        yield OciRegistry(f"http://{_address(process)}", folder / "data", log)
    finally:
        process.stop()


def _address(process: Process) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.exit_code is None:
        for line in process.log.read_text(encoding="utf-8").splitlines():
            found = re.fullmatch(r"listening on ([0-9.]+:[0-9]+)", _message(line))
            if found is not None:
                return found[1]
        process.wait(0.02)
    raise AssertionError(f"the registry does not listen:\n{process.last_lines()}")


def _message(line: str) -> str:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(line)["msg"])
    return ""
