"""Have the registry of the tests ready in the cache: `PYTHONPATH=tests python -m support.oci_registry`."""

from __future__ import annotations

import os
import sys

from hpi_core.errors import HpiError
from support.oci_registry.recipe import prepare_registry


def main() -> int:
    """Build it unless it is there, and tell where it is."""
    try:
        print(prepare_registry(os.environ, lambda line: print(f"registry: {line}", flush=True)))
    except HpiError as error:
        print(f"registry: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
