"""The project's images for its tests, built unless they are there: `python -m support.image_builds`; ten minutes."""

from __future__ import annotations

import sys

from hpi_core.errors import HpiError
from support.image_builds.built import built_images


def main() -> int:
    """Build, tell how far it is, and return the exit code."""
    try:
        built = built_images(lambda line: print(line, flush=True))
    except HpiError as error:
        print(f"images for tests: {error}", file=sys.stderr)
        return 1
    print(f"images for tests: {built.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
