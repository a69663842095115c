"""What one environment is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpi_agent.plugins.interpreters import Interpreter
from hpi_agent.plugins.variants import LockedList, Variant

Say = Callable[[str, Mapping[str, Any]], None]
"""Told of every step: its name and the facts that belong to it."""


@dataclass(frozen=True)
class Recipe:
    """What one environment is made of."""

    variant: Variant
    locked: LockedList
    interpreter: Interpreter
    wheelhouse: Path | None
    """Folder that all wheels come from; None: the index that the machine's pip is set up for."""
    environment: Mapping[str, str]
    """Variables of this program."""
    processors: int
    """Processes that may compile at once."""
