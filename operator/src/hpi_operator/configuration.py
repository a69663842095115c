"""Where the data files of the operator are: in the wheel, or in the checkout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_core.errors import Bug

PACKAGE: Final = Path(__file__).resolve().parent
ACCELERATORS: Final = "accelerators.yml"


def accelerators_document() -> Mapping[str, Any]:
    """Return the parsed file with the classes of hardware.

    Raises:
        Bug: It is not there: the package is installed incompletely.
    """
    places = (PACKAGE / "configs" / ACCELERATORS, PACKAGE.parents[2] / "configs" / ACCELERATORS)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise Bug(f"{ACCELERATORS} is in none of {', '.join(map(str, places))}")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise Bug(f"{path} must hold a mapping")
    return document
