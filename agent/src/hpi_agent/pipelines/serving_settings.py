"""Settings of serving that the kinds have and that this release's server does not honour; pure.

A door that was to be locked and is open would be worse than no server: each is refused, with what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpi_core.api.v1alpha1.pipeline import PipelineSpec

IN_FRONT = "put a proxy in front of the server that does it, and take the field out"


def serving_problems(spec: PipelineSpec) -> Iterator[str]:
    """Yield one line for each setting that is asked for and that this release does not honour."""
    serving = spec.serving
    if serving.tls is not None:
        yield f"spec.serving.tls: this release serves plain HTTP; {IN_FRONT}"
    if serving.auth.type != "None":
        yield f"spec.serving.auth.type: this release lets everybody call, got {serving.auth.type!r}; {IN_FRONT}"
    if "OpenInferenceGRPC" in serving.protocols:
        yield "spec.serving.protocols: this release does not speak OpenInferenceGRPC; take it out"
    if serving.queue.priorities or serving.queue.tenants is not None:
        yield "spec.serving.queue: this release has one queue for all; take priorities and tenants out"
    if serving.url_inputs.allowed_hosts:
        yield "spec.serving.urlInputs.allowedHosts: this release fetches no URLs; send the file itself"
    if spec.license is not None:
        yield "spec.license: no plugin of this release needs a licence; take it out"
