"""Which CANN is installed beside pyACL, without importing it.

Source:
    CANN software installation guide, "Checking the version": `<arch>-linux/ascend_toolkit_install.info`.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Final

UNKNOWN: Final = "unknown"
"""The version where acl can be imported and nothing says which CANN it belongs to."""
MAX_BYTES: Final = 65_536
DEPTH: Final = 5
"""How many folders above acl are looked at: it lies in `python/site-packages` of the toolkit."""
_PLAIN: Final = re.compile(r"^\s*version\s*=\s*(?P<version>[\w.]+)", re.MULTILINE)
_BOTH: Final = re.compile(
    r"^\s*(?:toolkit|nnae|nnrt|runtime)_(?:running|installed)_version\s*=\s*\[[^:\]]*:(?P<version>[\w.]+)\]",
    re.MULTILINE,
)
"""Its number inside CANN, then the one that it is published under."""
FILES: Final = {
    "*-linux/ascend_toolkit_install.info": _PLAIN,
    "*-linux/ascend_nnae_install.info": _PLAIN,
    "*-linux/ascend_nnrt_install.info": _PLAIN,
    "version.cfg": _BOTH,
}


def installed_cann() -> str | None:
    """Return the version of the CANN that acl belongs to, such as `8.0.RC3`; None where acl cannot be imported."""
    spec = importlib.util.find_spec("acl")
    if spec is None:
        return None
    return version_beside(Path(spec.origin)) if spec.origin else UNKNOWN


def version_beside(acl: Path) -> str:
    """Return the version that the files of CANN beside acl say."""
    for folder in list(acl.absolute().parents)[:DEPTH]:
        for pattern, version in FILES.items():
            for path in sorted(folder.glob(pattern)):
                if path.is_file() and (found := version.search(_read(path))):
                    return found["version"]
    return UNKNOWN


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("utf-8", "replace")
