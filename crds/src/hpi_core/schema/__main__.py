"""`python -m hpi_core.schema`: print or write the CustomResourceDefinitions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.schema.custom_resource import file_name, file_text, stream_text


def main(arguments: Sequence[str]) -> int:
    """Print the manifests, or write one file per kind."""
    parser = argparse.ArgumentParser(prog="python -m hpi_core.schema", description=__doc__)
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], help="this kind alone (default: all)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write one file per kind into DIR")
    chosen = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if chosen.kind in (None, kind.name)]
    if chosen.output is None:
        sys.stdout.write(stream_text(kinds))
    else:
        for kind in kinds:
            _write(kind, chosen.output)
    return 0


def _write(kind: Kind, folder: Path) -> None:
    """Write the file of a kind; a reader sees the old one or the new one whole."""
    path = folder / file_name(kind)
    aside = path.with_name(f".{path.name}")
    aside.write_text(file_text(kind), encoding="utf-8")
    os.replace(aside, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
