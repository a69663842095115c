"""Requests to an API server, read as Kubernetes reads them: verb and resource, and which requests are meant."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}
TRUE: Final = frozenset({"1", "true", "True"})


@dataclass(frozen=True)
class ApiCall:
    """One request."""

    method: str
    target: str
    """Path and query, as they were sent."""
    verb: str
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; empty for other paths."""
    resource: str
    """Plural and subresource: `pods`, `hpinodes/status`; empty for other paths, such as `/version`."""
    namespace: str
    name: str
    agent: str
    """What the client calls itself."""
    continued: bool
    """Whether a list asks for a later page."""


Matches = Callable[[ApiCall], bool]


def read_call(method: str, target: str, agent: str = "") -> ApiCall:
    """Return what a request asks for.

    Args:
        method: Of HTTP.
        target: Path and query.
        agent: Value of User-Agent.
    """
    split = urlsplit(target)
    query = parse_qs(split.query)
    words = [unquote(word) for word in split.path.strip("/").split("/")]
    rest = words[2:] if words[0] == "api" else words[3:] if words[0] == "apis" else []
    namespace = ""
    # `namespaces/a` is a namespace, `namespaces/a/pods` are pods in it; `namespaces/a/status` is a part of it again.
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "", "")[:3]
    if not plural:
        verb = ""
    elif method == "GET":
        verb = "get" if name else "watch" if set(query.get("watch", [])) & TRUE else "list"
    elif method == "DELETE":
        verb = "delete" if name else "deletecollection"
    else:
        verb = VERBS.get(method, "")
    return ApiCall(
        method=method,
        target=target,
        verb=verb,
        resource=f"{plural}/{subresource}" if subresource else plural,
        namespace=namespace,
        name=name,
        agent=agent,
        continued="continue" in query,
    )


def asks(
    verb: str | Collection[str] | None = None,
    resource: str | Collection[str] | None = None,
    *,
    namespace: str | None = None,
    name: str | None = None,
    agent: str | None = None,
    continued: bool | None = None,
) -> Matches:
    """Return which requests are meant: `asks("list", "deployments", continued=True)`. What is not said may be anything.

    Args:
        verb: One or several.
        resource: Plural, with the subresource behind a slash where one is meant; one or several.
        namespace: Of the objects.
        name: Of the object.
        agent: Beginning of what the client calls itself.
        continued: Whether it is a later page of a list.
    """
    verbs = {verb} if isinstance(verb, str) else verb
    resources = {resource} if isinstance(resource, str) else resource
    return lambda call: (
        (verbs is None or call.verb in verbs)
        and (resources is None or call.resource in resources)
        and namespace in (None, call.namespace)
        and name in (None, call.name)
        and (agent is None or call.agent.startswith(agent))
        and continued in (None, call.continued)
    )
