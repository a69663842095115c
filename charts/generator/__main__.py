"""Write the generated files of charts/: `make chart`, or `PYTHONPATH=charts python -m generator [--check]`.

Objects come from `hpi_operator.install`, kinds and the schemas of values from the models of the API; nothing of either
is written a second time. What a value may change stands in `objects.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from generator.kustomize import base
from generator.objects import templates
from generator.schema import values_schema
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.schema.custom_resource import file_name, file_text

CHARTS: Final = Path(__file__).resolve().parents[1]
CONFIGS: Final = CHARTS.parent / "configs"
COPIED: Final = ("alerts/hpi.yaml", "dashboards/hpi.json")
"""Data that Helm reads from the chart's own folder alone."""


def generated() -> Mapping[str, str]:
    """Return the text of every generated file, by its path below charts/."""
    files = {f"hpi/crds/{file_name(kind)}": file_text(kind) for kind in KINDS}
    files |= {f"hpi/templates/{name}": text for name, text in templates().items()}
    files |= {f"hpi/files/{name}": (CONFIGS / name).read_text(encoding="utf-8") for name in COPIED}
    files["hpi/values.schema.json"] = values_schema()
    files |= {f"kustomize/{name}": text for name, text in base().items()}
    return files


def main(arguments: Sequence[str]) -> int:
    """Write every generated file that differs, or with --check name them and return 1."""
    parser = argparse.ArgumentParser(prog="generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the files that differ and return 1")
    parser.add_argument("-o", "--output", type=Path, default=CHARTS, metavar="DIR", help="default: %(default)s")
    chosen = parser.parse_args(arguments)
    differing = {name: text for name, text in generated().items() if _read(chosen.output / name) != text}
    for name, text in differing.items():
        if not chosen.check:
            (chosen.output / name).parent.mkdir(parents=True, exist_ok=True)
            (chosen.output / name).write_text(text, encoding="utf-8")
        print(f"charts/{name} {'differs; run `make chart`' if chosen.check else 'written'}")
    return 1 if chosen.check and differing else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
