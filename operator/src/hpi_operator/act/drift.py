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
    return applied_digest(live) != applied_digest(intent) or drift(live, intent) is not None


def why(live: Manifest | None, intent: Manifest) -> str:
    """Return why an intent has to be written: it is `new`, `changed`, or the live object `drifted at PATH`."""
    if live is None:
        return "new"
    if applied_digest(live) != applied_digest(intent):
        return "changed"
    return f"drifted at {drift(live, intent)}"


def drift(live: Any, intent: Any, path: str = "") -> str | None:
    """Return the path of the first leaf of an intent that is not in the live value, None where all are.

    A list of mappings is compared element by element by the name of each, so that elements of other writers (a
    side-car) do not count as a difference; any other list must be equal.
    """
    if isinstance(intent, Mapping):
        return _drift_in_mapping(live, intent, path)
    if isinstance(intent, Sequence) and not isinstance(intent, str):
        return _drift_in_list(live, intent, path)
    return None if live == intent else path


def _drift_in_mapping(live: Any, intent: Mapping[str, Any], path: str) -> str | None:
    if not isinstance(live, Mapping):
        return path
    for key, value in intent.items():
        here = f"{path}.{key}" if path else key
        if key not in live:
            # The API server leaves out what is empty, false or 0 where that is what absence means.
            if value:
                return here
            continue
        found = drift(live[key], value, here)
        if found is not None:
            return found
    return None


def _drift_in_list(live: Any, intent: Sequence[Any], path: str) -> str | None:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return path
    key = _key_of(intent)
    if key is None:
        if len(live) != len(intent):
            return path
        found = (
            drift(ours, wish, f"{path}[{place}]") for place, (ours, wish) in enumerate(zip(live, intent, strict=True))
        )
        return next((one for one in found if one is not None), None)
    by_key = {element.get(key): element for element in live if isinstance(element, Mapping)}
    for element in intent:
        here = f"{path}[{element[key]}]"
        there = by_key.get(element[key])
        missing = here if there is None else drift(there, element, here)
        if missing is not None:
            return missing
    return None


def _key_of(elements: Sequence[Any]) -> str | None:
    if not elements or not all(isinstance(element, Mapping) for element in elements):
        return None
    for key in KEYS_OF_LISTS:
        values = [element.get(key) for element in elements]
        if None not in values and len(set(map(str, values))) == len(values):
            return key
    return None
