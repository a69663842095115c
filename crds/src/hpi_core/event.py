"""Events (`events.k8s.io/v1`) as documents: what happened to an object, told once for `kubectl describe`; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.moments import fine_stamp

MAX_NOTE_BYTES: Final = 1_000
"""The API server takes 1,024."""
NAMESPACE_OF_OTHERS: Final = "default"
"""Where kubectl looks for events of objects that have no namespace."""
MAX_OBJECT_NAME: Final = 200
DIGITS: Final = 16
REGARDING: Final = ("name", "namespace", "uid")


@dataclass(frozen=True)
class Teller:
    """Who tells."""

    controller: str
    """The program, such as `hpi.paddlex.io/hpi-agent`; admission policies compare it."""
    instance: str
    """Which of its processes, such as the name of its node."""


@dataclass(frozen=True)
class News:
    """What is told."""

    action: str
    """What was done, one word."""
    reason: str
    """Why, one word."""
    note: str
    """The same for people; what is too long is cut."""
    type: Literal["Normal", "Warning"] = "Normal"
    """Warning: somebody should look."""


def event(about: Mapping[str, Any], teller: Teller, news: News, moment: datetime) -> dict[str, Any]:
    """Return an event about an object.

    Args:
        about: `apiVersion`, `kind` and `metadata` of the object: name, UID, and namespace where it has one.
        teller: Who tells it.
        news: What is told.
        moment: When it happened, in UTC.
    """
    metadata, time = about["metadata"], fine_stamp(moment)
    # The same news about the same object at the same moment is the same event.
    digest = digest_of_json([metadata["uid"], news.reason, news.note, time]).removeprefix(PREFIX)
    regarding = {"apiVersion": about["apiVersion"], "kind": about["kind"]}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:MAX_OBJECT_NAME]}.{digest[:DIGITS]}",
            "namespace": metadata.get("namespace") or NAMESPACE_OF_OTHERS,
        },
        "eventTime": time,
        "reportingController": teller.controller,
        "reportingInstance": teller.instance,
        "action": news.action,
        "reason": news.reason,
        "type": news.type,
        "note": news.note.encode()[:MAX_NOTE_BYTES].decode("utf-8", "ignore"),
        "regarding": regarding | {key: metadata[key] for key in REGARDING if metadata.get(key)},
    }
