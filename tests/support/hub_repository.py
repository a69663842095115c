"""A repository of a model hub: commits with files, branches that move, and who may read it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_PLAIN_BYTES: Final = 1_000
"""From here on this repository keeps a file as hubs keep large ones: by its SHA-256, in another store (Git LFS). Real
hubs begin at 10 MB; tests need not be as large."""


@dataclass(frozen=True)
class Blob:
    """One file of one commit."""

    content: bytes
    commit: str
    """The last commit that changed it."""

    @property
    def is_large(self) -> bool:
        """Whether it is kept by Git LFS."""
        return len(self.content) > MAX_PLAIN_BYTES

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What Git itself holds in place of a large file (the specification of Git LFS, version 1)."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode("ascii")

    @property
    def git_id(self) -> str:
        """Git's name of what it holds: SHA-1 of a head and the content."""
        held = self.pointer if self.is_large else self.content
        return hashlib.sha1(b"blob %d\0" % len(held) + held, usedforsecurity=False).hexdigest()


@dataclass
class HubRepository:
    """One repository; `main` and `master` are the same branch, for the hubs disagree on its name."""

    owner: str
    name: str
    readers: frozenset[str] | None = None
    """Tokens of those who may read it; None: everybody."""
    is_gated: bool = False
    """Whether everybody may see what files there are, and only the readers, who accepted its licence, read them."""
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """OWNER/NAME."""
        return f"{self.owner}/{self.name}"

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Put a new commit with exactly these files on a branch and return its name."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        digest = hashlib.sha1(f"{self.id} {len(self.commits)}".encode(), usedforsecurity=False)
        for path, content in sorted(files.items()):
            digest.update(b"%s\0%d\0" % (path.encode(), len(content)) + content)
        commit = digest.hexdigest()
        self.commits[commit] = {
            path: before[path] if path in before and before[path].content == content else Blob(content, commit)
            for path, content in files.items()
        }
        for name in ("main", "master") if branch == "main" else (branch,):
            self.branches[name] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a revision names, or None."""
        return revision if revision in self.commits else self.branches.get(revision)

    def find(self, revision: str, path: str) -> Blob | None:
        """Return a file, or None."""
        return self.commits.get(self.resolve(revision) or "", {}).get(path)
