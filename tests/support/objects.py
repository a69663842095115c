"""Our kinds on an API server: the server asked directly, with field validation, dry runs and subresources."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import httpx2

from hpi_core.api.base import GROUP, VERSION
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.kinds import BY_NAME
from support.manifests import Document
from support.project import ROOT

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status_code: int
    body: Document

    @property
    def accepted(self) -> bool:
        """Whether the request was done."""
        return self.status_code < 300

    @property
    def causes(self) -> list[str]:
        """What is wrong, one `path: message` for each problem; the whole message where there is no list of them."""
        listed = self.body.get("details", {}).get("causes")
        if not listed:
            return [self.body.get("message", "")]
        return [f"{cause.get('field', '')}: {cause['message']}" for cause in listed]


def serve_kinds(cluster: ControlPlane) -> None:
    """Have a control plane serve our kinds."""
    applied = cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    assert applied.exit_code == 0, applied.error
    names = sorted(kind.crd_name for kind in BY_NAME.values())

    def served() -> bool:
        # `kubectl wait` fails at once where there is no condition yet.
        waited = cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *names)
        assert waited.exit_code == 0, waited.error
        # kubectl keeps for ten minutes what it found before our kinds were there; this asks anew.
        listed = cluster.kubectl("api-resources", "--api-group", GROUP, "--output", "name")
        return listed.output.split() == names

    eventually(served)


class Objects:
    """Objects of our kinds; those of a namespaced kind are in one namespace."""

    def __init__(self, cluster: ControlPlane, namespace: str, user: Client | None = None) -> None:
        """Speak as somebody, as the admin unless told otherwise."""
        client = user or cluster.admin
        context = ssl.create_default_context(cafile=str(cluster.authority))
        context.load_cert_chain(client.pair.certificate, client.pair.key)
        self.namespace = namespace
        self._created: list[str] = []
        self._http = httpx2.Client(base_url=cluster.url, verify=context, trust_env=False, timeout=30.0)

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *_: object) -> None:
        """Delete what was created: objects without a namespace would meet those of other tests."""
        for path in self._created:
            self._http.delete(path).raise_for_status()
        self._http.close()

    def create(self, document: Document, *, dry_run: bool = False, strict: bool = True) -> Reply:
        """Create an object; the server takes no status with it."""
        reply = self._send("POST", self._path(document["kind"]), document, dry_run=dry_run, strict=strict)
        if reply.accepted and not dry_run:
            self._created.append(self._path(document["kind"], document["metadata"]["name"]))
        return reply

    def replace(self, document: Document, subresource: str = "", *, dry_run: bool = False) -> Reply:
        """Replace an object, or a part of it, whatever version of it the server has."""
        path = self._path(document["kind"], document["metadata"]["name"], subresource)
        current = self.read(document["kind"], document["metadata"]["name"])["metadata"]["resourceVersion"]
        metadata = {**document["metadata"], "resourceVersion": current}
        return self._send("PUT", path, {**document, "metadata": metadata}, dry_run=dry_run)

    def read(self, kind: str, name: str, subresource: str = "", accept: str = "application/json") -> Document:
        """Return an object, a part of it, or the table that kubectl shows of it."""
        answer = self._http.get(self._path(kind, name, subresource), headers={"Accept": accept})
        answer.raise_for_status()
        body: Document = answer.json()
        return body

    def openapi(self) -> Document:
        """Return what the server tells of the group."""
        body: Document = self._http.get(f"/openapi/v3/apis/{GROUP}/{VERSION}").json()
        return body

    def _path(self, kind: str, name: str = "", subresource: str = "") -> str:
        of = BY_NAME[kind]
        place = f"namespaces/{self.namespace}/" if of.scope == "Namespaced" else ""
        parts = [part for part in (name, subresource) if part]
        return f"/apis/{GROUP}/{VERSION}/{place}{'/'.join([of.plural, *parts])}"

    def _send(self, method: str, path: str, document: Document, *, dry_run: bool = False, strict: bool = True) -> Reply:
        parameters: dict[str, Any] = {"fieldValidation": "Strict" if strict else "Ignore"}
        if dry_run:
            parameters["dryRun"] = "All"
        answer = self._http.request(method, path, json=document, params=parameters)
        return Reply(answer.status_code, answer.json())
