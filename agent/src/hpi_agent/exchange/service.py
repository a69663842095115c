"""What the routes of one agent share: whose a request is, whose entries it may touch, and how many are let in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from hpi_agent.exchange.answers import Unauthenticated
from hpi_agent.exchange.limits import DEFAULT_LIMITS, Limits
from hpi_agent.exchange.roles import Builds, Identify, PodIdentity, Reports, Shares
from hpi_agent.exchange.tenants import Tenant, TenantCache
from hpi_agent.exchange.token_file import MAX_TOKEN_BYTES
from hpi_agent.store.directory import Store
from hpi_core.errors import Overloaded, Refused

T = TypeVar("T")

THREADS: Final = 8


def own_namespace(who: PodIdentity) -> str | None:
    """Return who shares a pod's entries where nothing is shared across tenants."""
    return who.namespace


@dataclass
class Exchange:
    """One agent, as its routes see it.

    Attributes:
        store: The node's cache.
        identify: Whose a token is.
        reports: Takes what pods tell.
        builds: Who may build.
        shares: Who shares a pod's entries.
        limits: A number for everything.
        full: Why the last thing that was sent could not be kept, when the volume was full; None once one could again.
    """

    store: Store
    identify: Identify
    reports: Reports
    builds: Builds
    shares: Shares = own_namespace
    limits: Limits = DEFAULT_LIMITS
    full: str | None = None
    cache: TenantCache = field(init=False)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "exchange"))
    _requests: Counter[str] = field(default_factory=Counter)
    _uploads: Counter[str] = field(default_factory=Counter)
    _identifying: int = 0

    def __post_init__(self) -> None:
        self.cache = TenantCache(self.store, self.limits)

    def tenant(self, who: PodIdentity) -> Tenant:
        """Return whose entries a pod uses."""
        return Tenant(self.shares(who))

    async def known(self, authorization: str) -> PodIdentity:
        """Return whose a request is.

        Args:
            authorization: Its header of that name.

        Raises:
            Unauthenticated: Nobody's.
            Overloaded: Too many tokens are looked at now.
            Retry: The API server does not answer.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated("a request needs the token of its pod: Authorization: Bearer …")
        if self._identifying >= self.limits.identifications:
            raise Overloaded(f"{self._identifying} tokens are looked at now; try again", 1)
        self._identifying += 1
        try:
            return await self.in_thread(self.identify, token)
        except Refused as error:
            raise Unauthenticated(str(error)) from error
        finally:
            self._identifying -= 1

    def requests_of(self, who: PodIdentity) -> AbstractAsyncContextManager[None]:
        """Hold the place of one request.

        Raises:
            Overloaded: The pod, or all together, have too many in service.
        """
        limits = self.limits
        return _place(self._requests, who.pod_uid, limits.requests_of_pod, limits.connections, "request(s)")

    def uploads_of(self, who: PodIdentity) -> AbstractAsyncContextManager[None]:
        """Hold the place of one upload.

        Raises:
            Overloaded: The pod, or all together, have too many in service.
        """
        return _place(self._uploads, who.pod_uid, self.limits.uploads_of_pod, self.limits.uploads, "upload(s)")

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks in one of a few threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    @asynccontextmanager
    async def held(self, manager: AbstractContextManager[T]) -> AsyncIterator[T]:
        """Enter and leave in threads what blocks on either."""
        value = await self.in_thread(manager.__enter__)
        try:
            yield value
        except BaseException as error:
            if not await self.in_thread(manager.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            await self.in_thread(manager.__exit__, None, None, None)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def _place(counter: Counter[str], pod: str, of_pod: int, of_all: int, what: str) -> AsyncIterator[None]:
    if counter[pod] >= of_pod or counter.total() >= of_all:
        raise Overloaded(
            f"{counter[pod]} {what} of this pod and {counter.total()} of all pods are in service; at most {of_pod} and "
            f"{of_all} may be",
            1,
        )
    counter[pod] += 1
    try:
        yield
    finally:
        counter[pod] -= 1
        if not counter[pod]:
            del counter[pod]
