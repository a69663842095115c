"""The schema of `kubectl hpi -o json`: in the tree, and true."""

from __future__ import annotations

import json

from hpi_operator.kubectl.schema import REPORTS, schema, text
from support.project import ROOT

FILE = ROOT / "operator" / "kubectl-hpi.schema.json"


def test_the_file_is_what_the_reports_say() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make docs`"


def test_every_report_says_which_it_is() -> None:
    definitions = json.loads(text())["$defs"]

    kinds = {one.__name__: definitions[one.__name__]["properties"]["kind"]["const"] for one in REPORTS}

    assert kinds == {one.__name__: one.__name__ for one in REPORTS}
    assert [one["$ref"] for one in schema()["oneOf"]] == [f"#/$defs/{name}" for name in kinds]
