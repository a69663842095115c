"""`python -m hpi_operator.kubectl.schema`: print or write the JSON Schema of every report, for `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from hpi_operator.kubectl.reports.base import REPORT_VERSION, Report
from hpi_operator.kubectl.reports.causes import Causes
from hpi_operator.kubectl.reports.explanation import Explanation
from hpi_operator.kubectl.reports.nodes import NodeList
from hpi_operator.kubectl.reports.pipelines import PipelineList
from hpi_operator.kubectl.reports.tree import PipelineTree
from hpi_operator.kubectl.written_pages import print_or_write

REPORTS: Final[tuple[type[Report], ...]] = (PipelineList, PipelineTree, Explanation, NodeList, Causes)
"""What `-o json` may print; `kind` says which it is."""


def schema() -> dict[str, Any]:
    """Return one schema for all reports. Fields that are absent have no value; fields are added, never removed."""
    _, found = models_json_schema([(one, "validation") for one in REPORTS], by_alias=True)
    definitions = found["$defs"]
    for one in definitions.values():
        # A newer release may say more: who reads by this schema goes on.
        one.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Reports of kubectl hpi, {REPORT_VERSION}",
        "oneOf": [{"$ref": f"#/$defs/{one.__name__}"} for one in REPORTS],
        "$defs": definitions,
    }


def text() -> str:
    """Return the text of the file."""
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print the schema, or write it to a file."""
    return print_or_write("python -m hpi_operator.kubectl.schema", __doc__, text, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
