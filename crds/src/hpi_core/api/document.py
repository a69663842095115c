"""YAML or JSON text → the one mapping in it: plain data, without tags, aliases or duplicate keys, within bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from hpi_core.errors import InvalidManifest

MAX_MANIFEST_BYTES: Final = 1_048_576
"""Largest manifest read: an API server takes no larger object either (etcd's default request limit is 1.5 MiB)."""

MAX_DEPTH: Final = 64
"""Deepest nesting of a manifest; YAML of this depth is written by nobody, and parsers recurse."""

MAX_NUMBER_CHARACTERS: Final = 128
"""Longest number read; the 64 binary digits of the largest one allowed need 66. Unit: characters."""

MAX_SHOWN_CHARACTERS: Final = 80
"""How much of a value or a key from a manifest is repeated in a message. Unit: characters."""


def read_mapping(text: str, where: str) -> dict[str, Any]:
    """Return the one mapping that a text holds.

    Args:
        text: One YAML document.
        where: What to call the text in messages.

    Raises:
        InvalidManifest: The text is not one mapping of plain data within the bounds above.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(where, [f"(document): must not be larger than {MAX_MANIFEST_BYTES} bytes"])
    try:
        depth = max((level for level in _depths(text)), default=0)
        if depth > MAX_DEPTH:
            raise InvalidManifest(where, [f"(document): must not nest deeper than {MAX_DEPTH} levels"])
        documents = list(yaml.load_all(text, Loader=_Loader))
    # The parser gives up with ValueError on some texts, such as half of a surrogate pair.
    except (yaml.YAMLError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InvalidManifest(where, [f"(document): cannot be read as YAML: {line}"]) from None
    mappings = [document for document in documents if document is not None]
    if len(mappings) != 1 or not isinstance(mappings[0], dict):
        seen = shown(mappings[0]) if len(mappings) == 1 else f"{len(mappings)} documents" if mappings else "nothing"
        raise InvalidManifest(where, [f"(document): must be exactly one mapping, got {seen}"])
    return mappings[0]


def _depths(text: str) -> Iterator[int]:
    """Yield the nesting depth at every event; the event stream is flat, so this cannot exhaust the stack.

    Raises:
        YAMLError: There is an alias or a tag.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            yield depth
            if depth > MAX_DEPTH:
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            # An alias repeats a whole subtree without writing it: a short text can stand for gigabytes.
            raise yaml.YAMLError(f"aliases (*name) are not allowed; write the value out (line {_line(event)})")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise yaml.YAMLError(f"tags ({event.tag}) are not allowed; write the value alone (line {_line(event)})")


def _line(part: Any) -> int:
    """Return the line, counted from 1, at which an event or a node of a document begins."""
    return int(part.start_mark.line) + 1


class _Loader(yaml.SafeLoader):
    """YAML that means JSON: text, numbers, booleans, null, lists and mappings of text, each key once.

    A key that appears twice would lose its first value in silence. A date stays text, as it does for kubectl.
    """


_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FRACTION: Final = re.compile(
    r"^[-+]?(([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(inf|Inf|INF))$"
    r"|^\.(nan|NaN|NAN)$"
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}null", f"{_TAG}bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 takes 8080:80 for a number of base 60, and JSON's 1e-5 for text.
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FRACTION, list("-+0123456789."))


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.YAMLError(f"keys must be strings, got {shown(key)} (line {_line(key_node)})")
        if key == "<<" and key_node.style is None:
            raise yaml.YAMLError(f"merge keys (<<) are not allowed; write the fields out (line {_line(key_node)})")
        if key in seen:
            raise yaml.YAMLError(f"key {shown(key)} appears twice, the second time at line {_line(key_node)}")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    construct = loader.construct_yaml_int if node.tag.endswith(":int") else loader.construct_yaml_float
    value: int | float = construct(node) if len(node.value) <= MAX_NUMBER_CHARACTERS else math.inf
    # JSON has no infinity and no NaN, and Kubernetes keeps integers in 64 bits.
    if not math.isfinite(value) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise yaml.YAMLError(f"{shown(node.value)} is not a number of 64 bits (line {_line(node)})")
    return value


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    value = str(loader.construct_scalar(node))
    try:
        # JSON escapes a character beyond U+FFFF as two surrogates; YAML reads them one by one.
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise yaml.YAMLError(f"{shown(value)} holds half of a surrogate pair (line {_line(node)})") from None


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG, _text)
_Loader.add_constructor(f"{_TAG}int", _number)
_Loader.add_constructor(f"{_TAG}float", _number)


def shown(value: Any) -> str:
    """Return a value of a manifest for a message: short, on one line, without control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}… ({len(shown)} characters)"
