"""ModelScope on loopback: the routes of its API that reading a model needs, and the store of its large files.

Written after the client of the hub itself (modelscope_hub 0.5) and its documentation; a test lets that client download
from here, so that this double cannot drift from what a client of the real hub relies on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from support.hub_repository import Blob, HubRepository
from support.loopback_server import Answer, LoopbackServer, Request, content_answer, serving

SIGNATURE: Final = "Signature=not-for-everybody"
NO_SUCH_MODEL: Final = 10010205001
NO_SUCH_FILE: Final = 10990101007
NOT_SIGNED_IN: Final = 10010103004


@dataclass
class ModelScopeHub:
    """The hub: its repositories and where its large files are."""

    repositories: dict[str, HubRepository] = field(default_factory=dict)
    store_url: str = ""
    """Where clients find large files: on another host, as in reality."""
    api: LoopbackServer | None = None
    store: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """The endpoint of the hub."""
        assert self.api is not None
        return self.api.url

    def add(self, repository: HubRepository) -> HubRepository:
        """Keep one more repository and return it."""
        self.repositories[repository.id] = repository
        return repository

    def serve(self, request: Request) -> Answer:
        """Answer a request to the hub."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        match request.words:
            case ["api", "v1", "models", owner, name, "repo", "files"]:
                return self._files(request, token, f"{owner}/{name}")
            case ["api", "v1", "models", owner, name, "repo"]:
                return self._file(request, token, f"{owner}/{name}")
        return _error(404, 404, "not found")

    def serve_store(self, request: Request) -> Answer:
        """Answer a request to the store of large files, which knows nobody but whoever has a signed address."""
        if "authorization" in request.headers:
            return Answer(400, {}, b"OnlyOneAuthTypeAllowed")
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for blob in files.values():
                    if request.words[-1] == blob.sha256 and request.target.endswith(SIGNATURE):
                        return content_answer(request, blob.content, {"ETag": f'"{blob.sha256[:32].upper()}"'})
        return Answer(403, {}, b"AccessDenied")

    def _refusal(self, token: str | None, name: str, revision: str) -> Answer | None:
        repository = self.repositories.get(name)
        if repository is not None and repository.readers is not None and token not in repository.readers:
            return _error(401 if token is None else 403, NOT_SIGNED_IN, "没有权限")
        if repository is None or repository.resolve(revision) is None:
            return _error(404, NO_SUCH_MODEL, "获取模型版本失败,信息：record not found")
        return None

    def _files(self, request: Request, token: str | None, name: str) -> Answer:
        revision = request.query.get("Revision", "master")
        if (refusal := self._refusal(token, name, revision)) is not None:
            return refusal
        repository = self.repositories[name]
        files = repository.commits[repository.resolve(revision) or ""]
        root = request.query.get("Root", "").strip("/")
        inside = {path: blob for path, blob in files.items() if path.startswith(f"{root}/" if root else "")}
        if root and not inside:
            return _error(404, NO_SUCH_FILE, "path not found")
        entries = [_entry(path, blob) for path, blob in inside.items()]
        if request.query.get("Recursive", "").lower() != "true":
            entries = [entry for entry in entries if entry["Path"].rpartition("/")[0] == root]
        entries += _folders(inside, root, recursive=request.query.get("Recursive", "").lower() == "true")
        return _json(200, {"Code": 200, "Data": {"Files": entries}, "Message": "success", "Success": True})

    def _file(self, request: Request, token: str | None, name: str) -> Answer:
        revision, path = request.query.get("Revision", "master"), request.query.get("FilePath", "")
        if (refusal := self._refusal(token, name, revision)) is not None:
            return refusal
        blob = self.repositories[name].find(revision, path)
        if blob is None:
            return _error(404, NO_SUCH_FILE, f"{path} not found")
        if blob.is_large:
            return Answer(302, {"Location": f"{self.store_url}/{quote(name)}/{blob.sha256}?{SIGNATURE}"})
        return content_answer(request, blob.content, {"ETag": f'"{blob.sha256}"'})


@contextlib.contextmanager
def modelscope_hub() -> Iterator[ModelScopeHub]:
    """Run an empty hub until the block ends."""
    hub = ModelScopeHub()
    with serving(hub.serve) as hub.api, serving(hub.serve_store) as hub.store:
        hub.store_url = hub.store.url
        yield hub


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    known = {"Name": path.rpartition("/")[2], "Path": path, "Type": "blob", "Size": len(blob.content)}
    return {**known, "Sha256": blob.sha256, "Revision": blob.commit, "IsLFS": blob.is_large, "Mode": "100644"}


def _folders(files: dict[str, Blob], root: str, *, recursive: bool) -> list[dict[str, Any]]:
    found = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    below = [path for path in sorted(found - {root}) if path.startswith(f"{root}/" if root else "")]
    shown = below if recursive else [path for path in below if path.rpartition("/")[0] == root]
    return [{"Name": path.rpartition("/")[2], "Path": path, "Type": "tree", "Size": 0} for path in shown]


def _json(status: int, document: dict[str, Any]) -> Answer:
    return Answer(
        status, {"Content-Type": "application/json"}, json.dumps(document, ensure_ascii=False).encode("utf-8")
    )


def _error(status: int, code: int, message: str) -> Answer:
    return _json(status, {"Code": code, "Message": message, "RequestId": "0", "Success": False})
