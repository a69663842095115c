"""A folder as a pod mounts it: read-only, at another place, in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def mounted_read_only(source: Path, target: Path) -> Sequence[str]:
    """Return what runs a command that sees a folder read-only at another place."""
    target.mkdir(parents=True, exist_ok=True)
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'
    return [
        shutil.which("unshare") or "unshare",
        "--mount",
        *own_users,
        "sh",
        "-c",
        script,
        "sh",
        str(source),
        str(target),
    ]
