"""A volume of a few megabytes for a program, by a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def a_small_volume(folder: Path, size_bytes: int) -> Sequence[str]:
    """Return what runs a command with a small volume mounted on a folder, in a mount namespace of its own."""
    folder.mkdir(parents=True)
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = f'mount -t tmpfs -o size={size_bytes} volume "$1" && shift && exec "$@"'
    return [shutil.which("unshare") or "unshare", "--mount", *own_users, "sh", "-c", script, "sh", str(folder)]
