"""The images: where the project's own build command has put them, built anew when sources have changed."""

from __future__ import annotations

import re
from pathlib import Path


def sizes(folder: Path) -> dict[str, str]:
    """Return what each image weighs beyond its base, as its build has counted."""
    found = {}
    for path in sorted(folder.glob("*.sizes.json")):
        [weight] = re.findall(r'"bytesBeyondBase": (\d+)', path.read_text(encoding="utf-8"))
        found[path.name.removesuffix(".sizes.json")] = f"{int(weight) / 1e6:.0f} MB"
    return found
