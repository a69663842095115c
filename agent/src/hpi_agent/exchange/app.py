"""The application of an agent for the pods of its node.

Each request is somebody's before anything of it is looked at: without a token that the API server knows, of a pod on
this node, the answer is 401. The tenant comes of that token alone.
"""

from __future__ import annotations

from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hpi_agent.exchange import build_routes, entry_routes
from hpi_agent.exchange.answers import Unknown
from hpi_agent.exchange.endpoint import Endpoint, Work, refusal
from hpi_agent.exchange.listing import KINDS
from hpi_agent.exchange.service import Exchange


def create_app(exchange: Exchange) -> Starlette:
    """Return the application of one agent."""

    def route(path: str, method: str, work: Work, *, is_upload: bool = False) -> Route:
        return Route(path, Endpoint(exchange, work, is_upload=is_upload), methods=[method])

    routes = [Route("/healthz", _healthz, methods=["GET"])]
    for kind in KINDS:
        entry = f"/v1/{kind}/{{digits}}"
        routes += [
            route(entry, "GET", partial(entry_routes.listing, kind)),
            route(entry, "PUT", partial(entry_routes.publish, kind)),
            route(f"{entry}/blobs/{{blob}}", "GET", partial(entry_routes.blob, kind)),
            route(f"{entry}/blobs/{{blob}}", "PUT", partial(entry_routes.upload, kind), is_upload=True),
        ]
    routes += [
        route("/v1/decisions/{digits}", "GET", entry_routes.decision),
        route("/v1/decisions/{digits}", "PUT", entry_routes.keep_decision),
        route("/v1/workload", "POST", build_routes.workload),
        route("/v1/workload", "DELETE", build_routes.gone),
        route("/v1/self-test", "POST", build_routes.self_test),
        route("/v1/resolutions/{name}/acquire", "POST", build_routes.acquire),
        route("/v1/resolutions/{name}/renew", "POST", build_routes.renew),
        route("/v1/resolutions/{name}/release", "POST", build_routes.release),
        route("/v1/resolutions/{name}/decided", "POST", build_routes.decided),
        route("/v1/resolutions/{name}/failed", "POST", build_routes.failed),
    ]
    return Starlette(routes=routes, exception_handlers={404: _no_route, 405: _no_route})


async def _healthz(_: Request) -> Response:
    return Response(b"ok", media_type="text/plain")


async def _no_route(_: Request, __: Exception) -> Response:
    return refusal(Unknown("no such route"))
