"""The Hugging Face Hub on loopback: the routes of its API that reading a model needs, and the store of its large files.

Written after the client of the hub itself (huggingface_hub 2.4) and its documentation; a test lets that client download
from here, so that this double cannot drift from what a client of the real hub relies on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from support.hub_repository import Blob, HubRepository
from support.loopback_server import Answer, LoopbackServer, Request, content_answer, serving

SIGNATURE: Final = "Signature=not-for-everybody"
"""What an address of the store of large files is worth for an hour to whoever has it."""


@dataclass
class HuggingFaceHub:
    """The hub: its repositories, its accounts, and where its large files are."""

    repositories: dict[str, HubRepository] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    """Tokens that are somebody's."""
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
        if token is not None and token not in self.accounts:
            return _error(401, "", "Invalid credentials in Authorization header")
        match request.words:
            case ["api", "models", owner, name]:
                return self._info(request, token, f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", revision]:
                return self._info(request, token, f"{owner}/{name}", revision)
            case ["api", "models", owner, name, "tree", revision, *folder]:
                return self._tree(request, token, f"{owner}/{name}", revision, "/".join(folder))
            case ["api", "resolve-cache", "models", owner, name, commit, *path]:
                return self._plain(request, token, f"{owner}/{name}", commit, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                return self._resolve(token, f"{owner}/{name}", revision, "/".join(path))
        return _error(404, "", "Sorry, we can't find the page you are looking for.")

    def serve_store(self, request: Request) -> Answer:
        """Answer a request to the store of large files, which knows nobody but whoever has a signed address."""
        if "authorization" in request.headers:
            return Answer(400, {}, b"Only one auth mechanism allowed")
        blobs = {blob.sha256: blob for blob in self._blobs()}
        if not request.target.endswith(SIGNATURE) or request.words[-1] not in blobs:
            return Answer(403, {}, b"AccessDenied")
        blob = blobs[request.words[-1]]
        return content_answer(request, blob.content, {"ETag": f'"{hashlib.md5(blob.content).hexdigest()}"'})  # noqa: S324

    def _blobs(self) -> Iterator[Blob]:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                yield from files.values()

    def _refusal(self, token: str | None, name: str, revision: str, *, files: bool) -> Answer | None:
        repository = self.repositories.get(name)
        is_reader = repository is not None and (repository.readers is None or token in repository.readers)
        if repository is None or (not is_reader and not repository.is_gated):
            # Who may not see a repository is not told whether there is one.
            return _error(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if files and not is_reader:
            message = f"Access to model {name} is restricted and you are not in the authorized list."
            return _error(401 if token is None else 403, "GatedRepo", message)
        if repository.resolve(revision) is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def _info(self, request: Request, token: str | None, name: str, revision: str) -> Answer:
        if (refusal := self._refusal(token, name, revision, files=False)) is not None:
            return refusal
        repository = self.repositories[name]
        commit = repository.resolve(revision)
        assert commit is not None
        with_blobs = request.query.get("blobs", "").lower() == "true"
        files = repository.commits[commit]
        siblings = [{"rfilename": path, **(_details(files[path]) if with_blobs else {})} for path in sorted(files)]
        known = {"_id": "0" * 24, "id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []}
        return _json({**known, "private": repository.readers is not None, "gated": repository.is_gated and "auto"})

    def _tree(self, request: Request, token: str | None, name: str, revision: str, folder: str) -> Answer:
        if (refusal := self._refusal(token, name, revision, files=False)) is not None:
            return refusal
        repository = self.repositories[name]
        files = repository.commits[repository.resolve(revision) or ""]
        inside = {path: blob for path, blob in files.items() if path.startswith(f"{folder}/" if folder else "")}
        if not inside:
            return _error(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        if request.query.get("recursive", "").lower() != "true":
            inside = {path: blob for path, blob in inside.items() if path.rpartition("/")[0] == folder}
        return _json([_entry(path, blob) for path, blob in sorted(inside.items())])

    def _resolve(self, token: str | None, name: str, revision: str, path: str) -> Answer:
        if (refusal := self._refusal(token, name, revision, files=True)) is not None:
            return refusal
        repository = self.repositories[name]
        commit = repository.resolve(revision)
        blob = repository.find(revision, path)
        if commit is None or blob is None:
            return _error(404, "EntryNotFound", "Entry not found")
        known = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(blob.content))}
        if blob.is_large:
            location = f"{self.store_url}/{blob.sha256}?{SIGNATURE}"
            return Answer(302, {**known, "X-Linked-ETag": f'"{blob.sha256}"', "Location": location})
        location = f"/api/resolve-cache/models/{name}/{commit}/{quote(path)}"
        return Answer(307, {**known, "X-Linked-ETag": f'"{blob.git_id}"', "Location": location})

    def _plain(self, request: Request, token: str | None, name: str, commit: str, path: str) -> Answer:
        if (refusal := self._refusal(token, name, commit, files=True)) is not None:
            return refusal
        blob = self.repositories[name].find(commit, path)
        if blob is None:
            return _error(404, "EntryNotFound", "Entry not found")
        return content_answer(request, blob.content, {"ETag": f'"{blob.git_id}"', "X-Repo-Commit": commit})


@contextlib.contextmanager
def hugging_face_hub(*accounts: str) -> Iterator[HuggingFaceHub]:
    """Run an empty hub with some accounts until the block ends."""
    hub = HuggingFaceHub(accounts=set(accounts))
    with serving(hub.serve) as hub.api, serving(hub.serve_store) as hub.store:
        hub.store_url = hub.store.url
        yield hub


def _details(blob: Blob) -> dict[str, Any]:
    known: dict[str, Any] = {"size": len(blob.content), "blobId": blob.git_id}
    if blob.is_large:
        known["lfs"] = {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    return known


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    known: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.git_id}
    if blob.is_large:
        known["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    return known


def _json(document: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode("utf-8"))


def _error(status: int, code: str, message: str) -> Answer:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return _json({"error": message}, headers, status)
