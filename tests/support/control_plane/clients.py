"""Who speaks to a cluster: a certificate and a kubeconfig for each identity, and kubectl in its name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import yaml

from support.control_plane.certificates import Authority, KeyPair

KUBECTL_SECONDS: Final = 60.0
"""How long kubectl may take before the test that called it fails."""


@dataclass(frozen=True)
class Client:
    """An identity."""

    user: str
    groups: tuple[str, ...]
    pair: KeyPair
    kubeconfig: Path


@dataclass(frozen=True)
class Answer:
    """What kubectl answered."""

    exit_code: int
    output: str
    error: str


class Clients:
    """All identities of one cluster; each is made once."""

    def __init__(self, folder: Path, authority: Authority, server: str) -> None:
        """Begin with none.

        Args:
            folder: Takes the kubeconfig files.
            authority: Issues the certificates.
            server: URL of the API server.
        """
        self._folder = folder
        self._authority = authority
        self._server = server
        self._made: dict[tuple[str, tuple[str, ...]], Client] = {}

    def client(self, user: str, groups: Sequence[str]) -> Client:
        """Return an identity, made at the first call.

        Args:
            user: At most 64 characters.
            groups: Its groups; `system:authenticated` comes by itself.
        """
        key = (user, tuple(groups))
        if key not in self._made:
            again = sum(user == made.user for made in self._made.values())
            name = quote(user, safe="") + (f"-{again}" if again else "")
            pair = self._authority.issue_client(name, user, groups)
            kubeconfig = self._folder / f"{name}.kubeconfig"
            self._write(kubeconfig, user, pair)
            self._made[key] = Client(user, key[1], pair, kubeconfig)
        return self._made[key]

    def _write(self, path: Path, user: str, pair: KeyPair) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": self._server,
                        "certificate-authority": str(self._authority.certificate),
                    },
                }
            ],
            "users": [
                {"name": user, "user": {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}}
            ],
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            yaml.safe_dump(document, stream, sort_keys=False)


def run_kubectl(program: Path, client: Client, arguments: Sequence[str], home: Path, stdin: str = "") -> Answer:
    """Run kubectl in the name of a client.

    Args:
        program: The path of kubectl.
        client: Who asks.
        arguments: Subcommand and flags.
        home: Where it caches what it discovers, apart from the caches of the person at hand.
        stdin: What it reads from standard input, for `-f -`.
    """
    done = subprocess.run(
        [str(program), "--kubeconfig", str(client.kubeconfig), *arguments],
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=KUBECTL_SECONDS,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
