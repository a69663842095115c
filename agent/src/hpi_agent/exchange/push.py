"""From the pod's own store into the node's cache: what other pods of this tenant on this node need not build again."""

from __future__ import annotations

import logging
import os
from typing import Final, Literal

from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentRefuses
from hpi_agent.exchange.listing import KINDS, listing_of
from hpi_agent.exchange.pull import needs_of
from hpi_agent.select.decision import read_decision
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused

CONFLICT: Final = 409

Delivered = Literal["Sent", "Known", "Other", "Private"]
"""Sent: the node's cache has it now. Known: it had it. Other: it has another decision, which came first. Private: there
is nothing that others may use: no decision, a provisional one, or one that chose nothing."""

log: Final = logging.getLogger(__name__)


def deliver(client: AgentClient, store: Store, key: str) -> Delivered:
    """Send a decision of the store and everything that it needs, unless the node's cache has it.

    Args:
        client: The agent.
        store: The pod's own store.
        key: `sha256:<hex>` of the resolution document.

    Raises:
        AgentAway: The agent does not answer.
        AgentFull: The node's cache has no room.
        AgentRefuses: It does not want it.
        Damaged: An entry of the store is not what was published.
        Stop: The store cannot be read.
    """
    written = store.read_decision(key)
    if written is None:
        return "Private"
    try:
        decision = read_decision(written)
    except Refused:
        return "Private"
    if not decision.is_shareable:
        return "Private"
    if client.decision(key) == written:
        return "Known"
    for kind, one in needs_of(decision):
        push_entry(client, store, kind, one)
    try:
        client.keep_decision(key, written)
    except AgentRefuses as error:
        if error.status != CONFLICT:
            raise
        log.info("the node's cache keeps its decision of %s: %s", key, error)
        return "Other"
    return "Sent"


def push_entry(client: AgentClient, store: Store, kind: str, key: str) -> None:
    """Send an entry unless one is there; the first complete one stays.

    Raises:
        AgentAway: The agent does not answer.
        AgentFull: The node's cache has no room.
        AgentRefuses: It does not want it.
        Damaged: The entry is not what was published.
        Refused: The store has no such entry, or one that does not travel.
    """
    if client.listing(kind, key) is not None:
        return
    entry = store.open(KINDS[kind], key)
    if entry is None:
        raise Refused(f"there is no {kind} {key} in the store {store.root} to be sent")
    with entry:
        listing = listing_of(entry.about, entry.files)
        if listing is None:
            raise Refused(f"the {kind} {key} have files whose names or number do not travel")
        # The agent compares every byte with its digest; what is damaged here must not look like a bad connection.
        entry.verify()
        for name, file in listing.files.items():
            descriptor = entry.open_file(name)
            try:
                client.send(kind, key, file.digest, file.bytes, descriptor)
            finally:
                os.close(descriptor)
    try:
        client.publish(kind, key, listing)
    except AgentRefuses as error:
        if error.status != CONFLICT:
            raise
        log.info("the node's cache keeps its own of the %s %s: %s", kind, key, error)
