"""Whose an object is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpi_operator.plan.intent import Manifest


def is_owned(manifest: Manifest, uid: str) -> bool:
    """Return whether an object is controlled by the object of a UID."""
    owners: Sequence[Mapping[str, Any]] = manifest["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid and owner.get("controller") for owner in owners)


def owner_in_words(manifest: Manifest) -> str:
    """Return who controls an object, for people."""
    owners: Sequence[Mapping[str, Any]] = manifest["metadata"].get("ownerReferences") or ()
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return "nobody the operator knows"
    return f"{owner.get('kind')} {owner.get('name')} with UID {owner.get('uid')}"


def is_going(manifest: Manifest) -> bool:
    """Return whether an object is being deleted."""
    return manifest["metadata"].get("deletionTimestamp") is not None
