"""The checkout itself: its root and what pyproject.toml says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import tomllib  # type: ignore[import-not-found]  # From Python 3.11 on, as are the tests.

ROOT: Final = Path(__file__).resolve().parents[2]


def pyproject() -> dict[str, Any]:
    """Return pyproject.toml as nested tables."""
    tables: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return tables
