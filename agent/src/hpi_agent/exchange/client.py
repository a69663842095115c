"""The agent of the node, as a pod sees it: each thing that can be asked of it is one method.

Requests that may be repeated are, a few times with growing pauses that chance spreads: pods of one node start together.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.connection import DEFAULT_PATIENCE, AgentAway, AgentRefuses, Connection, Patience
from hpi_agent.exchange.listing import EntryListing
from hpi_agent.exchange.plain_json import plain
from hpi_agent.exchange.reports import (
    Asked,
    DecisionReport,
    FailureReport,
    Granted,
    Held,
    SelfTestReport,
    Token,
    WorkloadReport,
    read,
    resolution_name,
    write,
)
from hpi_agent.models.sources.patience import Patience as Attempts
from hpi_core.api.base import ApiModel
from hpi_core.digest import PREFIX
from hpi_core.errors import HpiError, InvalidManifest, Retry, SourceFailed

T = TypeVar("T")
Value = TypeVar("Value", bound=ApiModel)

HELD: Final = 423
FLIPS: Final = 3
"""Times that a blob is fetched from its beginning before what comes is taken to be wrong where it lies."""

ATTEMPTS: Final = Attempts(attempts=3, first_pause_seconds=0.3, longest_pause_seconds=3.0, longest_wait_seconds=10)
"""For whoever has time: about a second of pauses."""

ONCE: Final = Attempts(attempts=1)
"""For whoever asks again anyhow."""


class WrongBytes(Retry):
    """What came is not what was announced, again and again."""


@dataclass
class AgentClient:
    """One agent; several threads may use it at once.

    Attributes:
        address: Where it is.
        attempts: How often, and with which pauses, it is asked again.
        patience: How long one request may take.
    """

    address: AgentAddress
    attempts: Attempts = ATTEMPTS
    patience: Patience = DEFAULT_PATIENCE
    _connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = Connection(self.address, self.patience)

    def listing(self, kind: str, key: str) -> EntryListing | None:
        """Return what the cache says of an entry, or None: it has none for this pod.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It does not take this pod for one of its own.
        """
        return self._found(EntryListing, _entry_path(kind, key))

    def fetch(self, kind: str, key: str, digest: str, size_bytes: int, path: Path) -> None:
        """Write one file of an entry, checked while it comes: a cut costs what had not come, a changed bit all of it.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It is gone.
            OSError: The file cannot be written.
            WrongBytes: What comes is never what was announced.
        """
        address = f"{_entry_path(kind, key)}/blobs/{digest.removeprefix(PREFIX)}"
        for _ in range(FLIPS):
            with path.open("wb") as file:
                if self._fetched(address, file, size_bytes) == digest:
                    return
        raise WrongBytes(f"{address} came {FLIPS} times, each time with another digest than {digest}")

    def send(self, kind: str, key: str, digest: str, size_bytes: int, descriptor: int) -> None:
        """Send one file of an entry.

        Raises:
            AgentAway: It does not answer.
            AgentFull: The node's cache has no room.
            AgentRefuses: It does not want it.
        """

        def attempt() -> None:
            with os.fdopen(os.dup(descriptor), "rb") as file:
                file.seek(0)
                address = f"{_entry_path(kind, key)}/blobs/{digest.removeprefix(PREFIX)}"
                self._connection.ask("PUT", address, file, size_bytes=size_bytes)

        self._patiently(attempt)

    def publish(self, kind: str, key: str, listing: EntryListing) -> None:
        """Have what was sent made an entry.

        Raises:
            AgentAway: It does not answer.
            AgentFull: The node's cache has no room.
            AgentRefuses: Another one is there (409, with its digest), or something is missing.
        """
        self._patiently(lambda: self._connection.ask("PUT", _entry_path(kind, key), write(listing)))

    def decision(self, key: str) -> dict[str, Any] | None:
        """Return the JSON form of a decision, or None: there is none for this pod.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It does not take this pod for one of its own.
        """
        answer = self._patiently(lambda: self._connection.ask("GET", _decision_path(key), answers=(200, 404)))
        if answer.status == 404:
            return None
        try:
            found = json.loads(answer.body)
            return plain(found) if isinstance(found, dict) else None
        except (ValueError, RecursionError) as error:
            raise AgentRefuses(f"the agent {self.address} answers what is no JSON: {error}", answer.status) from error

    def keep_decision(self, key: str, document: Mapping[str, Any]) -> None:
        """Have a decision remembered.

        Raises:
            AgentAway: It does not answer.
            AgentFull: The node's cache has no room.
            AgentRefuses: Another engine was chosen before (409), or it is no decision to be shared.
        """
        body = json.dumps(document).encode()
        self._patiently(lambda: self._connection.ask("PUT", _decision_path(key), body))

    def report(self, report: WorkloadReport) -> None:
        """Tell what this pod serves.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It does not want to know.
        """
        self._patiently(lambda: self._connection.ask("POST", "/v1/workload", write(report)))

    def leave(self) -> None:
        """Tell that this pod ends.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It does not want to know.
        """
        self._patiently(lambda: self._connection.ask("DELETE", "/v1/workload"))

    def self_tested(self, report: SelfTestReport) -> None:
        """Tell how a self-test ended.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: This pod is no self-test.
        """
        self._patiently(lambda: self._connection.ask("POST", "/v1/self-test", write(report)))

    def acquire(self, asked: Asked) -> Granted | Held:
        """Ask to build.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It refuses.
        """
        path = f"/v1/resolutions/{resolution_name(asked.key)}/acquire"
        answer = self._patiently(lambda: self._connection.ask("POST", path, write(asked), answers=(200, HELD)))
        if answer.status == HELD:
            return self._read(Held, answer.body)
        return self._read(Granted, answer.body)

    def renew(self, key: str, token: int) -> Granted:
        """Keep the right to build.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It is lost.
        """
        return self._read(Granted, self._of_build(key, "renew", Token(token=token)))

    def release(self, key: str, token: int) -> None:
        """Give the right to build back.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: It refuses.
        """
        self._of_build(key, "release", Token(token=token))

    def decided(self, key: str, report: DecisionReport) -> None:
        """Tell what was decided, and give the right to build back.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: The right was lost.
        """
        self._of_build(key, "decided", report)

    def failed(self, key: str, report: FailureReport) -> None:
        """Tell why nothing was decided, and give the right to build back.

        Raises:
            AgentAway: It does not answer.
            AgentRefuses: The right was lost.
        """
        self._of_build(key, "failed", report)

    def _of_build(self, key: str, verb: str, value: ApiModel) -> bytes:
        path = f"/v1/resolutions/{resolution_name(key)}/{verb}"
        return self._patiently(lambda: self._connection.ask("POST", path, write(value))).body

    def _found(self, kind: type[Value], path: str) -> Value | None:
        answer = self._patiently(lambda: self._connection.ask("GET", path, answers=(200, 404)))
        if answer.status == 404:
            return None
        return self._read(kind, answer.body)

    def _read(self, kind: type[Value], body: bytes) -> Value:
        try:
            return read(kind, body)
        except InvalidManifest as error:
            raise AgentRefuses(f"the agent {self.address} answers what is no {kind.__name__}: {error}", 200) from error

    def _fetched(self, address: str, file: IO[bytes], size_bytes: int) -> str:
        """Write a blob from wherever the last attempt was cut; return the digest of what came."""
        state, at, failures = hashlib.sha256(), 0, 0
        while True:
            before = at
            try:
                with self._connection.pieces(address, at) as pieces:
                    for piece in pieces:
                        at += len(piece)
                        if at > size_bytes:
                            return "more than was announced"
                        state.update(piece)
                        file.write(piece)
                if at == size_bytes:
                    return PREFIX + state.hexdigest()
                error: Retry = AgentAway(f"{address} was cut after {at} of {size_bytes} bytes")
            except Retry as failure:
                error = failure
            failures = 1 if at > before else failures + 1
            try:
                self.attempts.pause(failures, error, address)
            except SourceFailed as last:
                raise AgentAway(str(error)) from last

    def _patiently(self, call: Callable[[], T]) -> T:
        try:
            return self.attempts.run(call, f"the agent {self.address} is away")
        except SourceFailed as error:
            cause = error.__cause__
            raise AgentAway(str(cause if isinstance(cause, HpiError) else error)) from error


def _entry_path(kind: str, key: str) -> str:
    return f"/v1/{kind}/{key.removeprefix(PREFIX)}"


def _decision_path(key: str) -> str:
    return f"/v1/decisions/{key.removeprefix(PREFIX)}"
