"""Whether a live object is what the operator states; pure.

A digest of the last intent tells that the intent has changed, fields that were taken out of it included. Comparing
every leaf tells that somebody else has changed the object. Neither alone would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_core.digest import digest_of_json
from hpi_core.names import APPLIED
from hpi_operator.plan.intent import Manifest, applied_digest

KEYS_OF_LISTS: Final = ("name", "type", "containerPort", "port", "ip", "topologyKey", "mountPath", "devicePath")
"""Fields by which Kubernetes tells the elements of a list apart, in the order of preference."""


def stamped(intent: Manifest) -> Manifest:
    """Return the intent with the digest of itself as an annotation."""
    metadata = intent["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED: digest_of_json(intent)}
    return {**intent, "metadata": {**metadata, "annotations": annotations}}


def differs(live: Manifest | None, intent: Manifest) -> bool:
    """Return whether an intent has to be written: it is new, has changed, or somebody changed what it states.

    Args:
        live: The object as it is stored; None: there is none.
        intent: The object as it is meant, stamped.
    """
    if live is None:
        return True
    return applied_digest(live) != applied_digest(intent) or not holds(live, intent)


def why(live: Manifest | None, intent: Manifest) -> str:
    """Return in one word why an intent has to be written: it is `new`, `changed`, or the live object has `drifted`."""
    if live is None:
        return "new"
    return "drifted" if applied_digest(live) == applied_digest(intent) else "changed"


def holds(live: Any, intent: Any) -> bool:
    """Return whether every leaf of an intent is in the live value.

    A list of mappings is compared element by element by the name of each, so that elements of other writers (a
    side-car) do not count as a difference; any other list must be equal.
    """
    if isinstance(intent, Mapping):
        return isinstance(live, Mapping) and all(_is_in(live, key, value) for key, value in intent.items())
    if isinstance(intent, Sequence) and not isinstance(intent, str):
        if not isinstance(live, Sequence) or isinstance(live, str):
            return False
        key = _key_of(intent)
        if key is None:
            return len(live) == len(intent) and all(holds(*pair) for pair in zip(live, intent, strict=True))
        by_key = {element.get(key): element for element in live if isinstance(element, Mapping)}
        return all(element[key] in by_key and holds(by_key[element[key]], element) for element in intent)
    return bool(live == intent)


def _is_in(live: Mapping[str, Any], key: str, value: Any) -> bool:
    # The API server leaves out what is empty.
    if key not in live:
        return value in ({}, [], (), None)
    return holds(live[key], value)


def _key_of(elements: Sequence[Any]) -> str | None:
    if not elements or not all(isinstance(element, Mapping) for element in elements):
        return None
    for key in KEYS_OF_LISTS:
        values = [element.get(key) for element in elements]
        if None not in values and len(set(map(str, values))) == len(values):
            return key
    return None
