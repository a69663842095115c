"""What to tell a person when the store itself cannot be read or written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from hpi_core.errors import Stop

_ADVICE: Final = {
    errno.ENOSPC: "make room there (hpi-agent store gc --max-bytes SIZE)",
    errno.EDQUOT: "make room there (hpi-agent store gc --max-bytes SIZE)",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "let user {user} read and write there",
    errno.EPERM: "let user {user} read and write there",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOLCK: "mount it with locks",
}


def unusable(root: Path, error: OSError) -> Stop:
    """Return the error that says what the kernel said of a store, where, and what to do."""
    place = error.filename2 or error.filename
    return Stop(
        f"the store {root} cannot be used: {error.strerror or error}{f' ({place})' if place else ''}; "
        f"{advice_for(error)}, or "
        "name another directory with --store DIR or $HPI_STORE"
    )


def advice_for(error: OSError) -> str:
    """Return what a person can do about an error of the kernel."""
    return _ADVICE.get(error.errno or 0, "put that right").format(user=os.geteuid())
