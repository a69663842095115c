"""From the node's cache into the pod's own store: entries first, each checked and published whole, then the decision.

Whoever watches the store for decisions, a server beside a builder, finds everything that a decision names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentRefuses
from hpi_agent.exchange.limits import DEFAULT_LIMITS
from hpi_agent.exchange.listing import KINDS, EntryListing
from hpi_agent.select.decision import Decision, read_decision
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused

NOT_FOUND: Final = 404

log: Final = logging.getLogger(__name__)


def pull_decision(
    client: AgentClient, store: Store, key: str, coming: Callable[[Decision], None] = lambda _: None
) -> Decision | None:
    """Return what was decided for a resolution elsewhere, with everything that it needs in the store; None: nothing.

    Args:
        client: The agent.
        store: The pod's own store.
        key: `sha256:<hex>` of the resolution document.
        coming: Is told of a decision that is there, before its entries are fetched.

    Raises:
        AgentAway: The agent does not answer.
        AgentRefuses: It does not take this pod for one of its own.
        Stop: The store cannot be written.
        WrongBytes: What comes is never what was announced.
    """
    written = client.decision(key)
    if written is None:
        return None
    try:
        decision = read_decision(written)
    except Refused as error:
        log.warning("the decision %s of the node's cache is not used: %s", key, error)
        return None
    if decision.key != key or not decision.is_shareable:
        log.warning("the decision %s of the node's cache is not used: it is another's, or none to be shared", key)
        return None
    coming(decision)
    if not all(pull_entry(client, store, kind, one) for kind, one in needs_of(decision)):
        return None
    store.write_decision(key, written)
    return decision


def needs_of(decision: Decision) -> tuple[tuple[str, str], ...]:
    """Return kind and key of every entry that a decision needs: the engine, and the converted model it is made of."""
    chosen = decision.chosen
    if chosen is None:
        return ()
    needs = []
    conversion = decision.resolution.get("conversion")
    if isinstance(conversion, dict) and chosen.candidate.model_format == "onnx":
        needs.append(("converted", digest_of_json(conversion)))
    if chosen.engine_key is not None:
        needs.append(("engines", chosen.engine_key))
    return tuple(needs)


def pull_entry(client: AgentClient, store: Store, kind: str, key: str) -> bool:
    """Return whether an entry is in the store now; False: the node's cache has none for this pod.

    Raises:
        AgentAway: The agent does not answer.
        Stop: The store cannot be written.
        WrongBytes: What comes is never what was announced.
    """
    there = store.open(KINDS[kind], key)
    if there is not None:
        there.close()
        return True
    listing = client.listing(kind, key)
    if listing is None:
        return False
    problem = _problem(kind, key, listing)
    if problem is not None:
        log.warning("the %s %s of the node's cache are not used: %s", kind, key, problem)
        return False

    def write(directory: Path) -> None:
        for name, file in listing.files.items():
            client.fetch(kind, key, file.digest, file.bytes, directory / name)

    try:
        store.publish(KINDS[kind], key, write, about=listing.about)
    except AgentRefuses as error:
        if error.status != NOT_FOUND:
            raise
        # It was collected, or found damaged, while it came.
        log.warning("the %s %s went away while they came: %s", kind, key, error)
        return False
    return True


def _problem(kind: str, key: str, listing: EntryListing) -> str | None:
    if listing.size_bytes > DEFAULT_LIMITS.entry_bytes:
        return f"they have {listing.size_bytes} bytes, at most {DEFAULT_LIMITS.entry_bytes} are taken"
    document: Any = listing.about.get("key")
    if kind == "engines" and digest_of_json(document) != key:
        return "what they say that shaped them is not what their key says"
    return None
