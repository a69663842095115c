"""Hosts as trees of files, unpacked from the text archives in tests/data/hosts.

An archive is one text file: a header that says where it comes from, then sections `-- /path --` with the content of a
file each. A header line `Beside the files of NAME.` lays them over another archive: a machine with devices is a machine
first. Device files are empty files, whose names are what discovery reads. A file that says `-> name` and no more is a
symbolic link, and the lines of /proc/self/environ end in zero bytes on disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

HOSTS = Path(__file__).parents[1] / "data" / "hosts"

ENVIRONMENT = "/proc/self/environ"

_BASE = re.compile(r"^Beside the files of (\S+)\.$", re.MULTILINE)
_SECTION = re.compile(r"^-- (/\S+) --\n", re.MULTILINE)


def host_files(name: str) -> dict[str, str]:
    """Return the files of a recorded host, content by path."""
    header, *parts = _SECTION.split((HOSTS / f"{name}.txt").read_text(encoding="utf-8"))
    base = _BASE.search(header)
    files = {} if base is None else host_files(base[1])
    return {**files, **dict(zip(parts[::2], parts[1::2], strict=True))}


def host_tree(directory: Path, name: str, changes: Mapping[str, str | None] | None = None) -> Path:
    """Write a recorded host below a directory, some files changed (or left out: None), and return its root."""
    root = directory / "host"
    for path, content in {**host_files(name), **(changes or {})}.items():
        if content is not None:
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("-> "):
                file.symlink_to(content[3:].strip())
            else:
                ended = content.replace("\n", "\0") if path == ENVIRONMENT else content
                file.write_text(ended, encoding="utf-8")
    return root
