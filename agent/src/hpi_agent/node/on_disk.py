"""How far a runtime is that this agent has to install."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

QUEUED: Final = "Queued"
INSTALLING: Final = "Installing"
INSTALLED: Final = "Installed"
FAILED: Final = "Failed"

State = Literal["Queued", "Installing", "Installed", "Failed"]


@dataclass(frozen=True)
class OnDisk:
    """One runtime in the node's volume."""

    lock_digest: str
    state: State
    """Queued: nobody has looked yet. Failed: it is tried again."""
    message: str = ""
    """How far it is, or why it failed."""
