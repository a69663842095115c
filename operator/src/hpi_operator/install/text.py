"""Manifests → YAML for people: fields in the order of the builders, nothing by reference, expressions in blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import yaml

from hpi_operator.plan.intent import Manifest

_LONGEST_PLAIN: Final = 80
"""Longest text that shares the line of its field. Unit: characters."""


def yaml_text(manifests: Iterable[Manifest]) -> str:
    """Return manifests as one YAML stream."""
    return "".join(
        "---\n" + yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) for one in manifests
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > _LONGEST_PLAIN else None)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    words = all(isinstance(value, str | int) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=words)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
