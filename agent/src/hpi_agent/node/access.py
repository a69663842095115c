"""Where the API server is, and who this agent is there: what the kubelet mounts into its pod, read anew each time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.exchange.token_file import read_token
from hpi_core.errors import Refused, Retry

MOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """How the API server is reached."""

    url: str
    """`https://HOST:PORT`."""
    authority: Path
    """Certificates that the server's is checked by."""
    token_file: Path
    """The token; a kubelet replaces it about every hour."""

    def token(self) -> str:
        """Return the token as it is now.

        Raises:
            Retry: It cannot be read, or is empty: a kubelet mounts it again.
        """
        try:
            return read_token(self.token_file)
        except Refused as refused:
            raise Retry(str(refused)) from refused


@dataclass(frozen=True)
class OwnNode:
    """The node that a token says its pod runs on."""

    name: str
    uid: str
    namespace: str
    """Of the pod."""


def default_access(environment: Mapping[str, str]) -> Access:
    """Return how a pod reaches the API server of its cluster.

    Raises:
        Refused: This is no pod: the variables of Kubernetes are not set.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise Refused(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: outside a pod, name the API server with "
            "--api-server, --api-authority and --api-token"
        )
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", MOUNT / "ca.crt", MOUNT / "token")


def claims_of(token: str) -> Mapping[str, Any]:
    """Return what a token says; nobody has checked its signature.

    Raises:
        Refused: It is no token that Kubernetes makes.
    """
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise Refused("the token is not one of a service account") from None
    if not isinstance(claims, dict):
        raise Refused("the token is not one of a service account")
    return claims


def own_node(token: str) -> OwnNode:
    """Return the node that the agent's own token names: the one whose HPINode it may write.

    Raises:
        Refused: The token names none.
    """
    told = claims_of(token).get("kubernetes.io")
    node = told.get("node") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(node, dict) or not node.get("name") or not node.get("uid"):
        raise Refused(
            "the agent's token says no node: it must be one that a kubelet of Kubernetes 1.32 or later has mounted "
            "into the agent's pod; a token that was asked for by hand may write nothing"
        )
    return OwnNode(str(node["name"]), str(node["uid"]), str(told.get("namespace", "")))
