"""Where the data files of the project lie: inside an installed wheel, or in a checkout beside the sources."""

from __future__ import annotations

from pathlib import Path

from hpi_core.errors import Bug

_PACKAGE = Path(__file__).resolve().parent


def configs_directory() -> Path:
    """Return the folder `configs`, with `models/` and `pipelines/` in it.

    Raises:
        Bug: Neither the wheel's copy nor the checkout's folder is there: the package is installed incompletely.
    """
    # A wheel carries the files inside the package; an editable install finds them at the checkout's root.
    candidates = (_PACKAGE / "configs", _PACKAGE.parents[2] / "configs")
    for candidate in candidates:
        if (candidate / "models").is_dir():
            return candidate
    raise Bug(f"the data files of hpi-agent are missing: none of {[str(path) for path in candidates]} has models/")
