"""Run a module of ours in an environment that does not have our packages.

Called as `python -I bootstrap.py <folder of hpi_agent> <folder of hpi_core> <module> [arguments]`. Exactly these two
packages are made importable. Putting their parent folders on the search path would let everything in beside them, which
is a whole other environment where the packages are installed. Standard library alone; Python 3.10 and later.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class PackagesOfOurs(MetaPathFinder):
    """Finds packages by name in the folders it was given; modules inside them are found as always."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = {Path(folder).name: Path(folder) for folder in folders}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a package lies, or None for a name that is not ours."""
        folder = self._folders.get(fullname)
        if folder is None:
            return None
        return spec_from_file_location(fullname, folder / "__init__.py", submodule_search_locations=[str(folder)])


def main(arguments: Sequence[str]) -> None:
    """Run the module as `__main__`, with the arguments that follow its name."""
    *folders, module = arguments[:3]
    sys.meta_path.insert(0, PackagesOfOurs(folders))
    sys.argv = [module, *arguments[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
