"""The pods of a pipeline: no Kubernetes credentials, nothing writable but scratch, one token for the node's agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import (
    ENV_AGENT,
    ENV_AGENT_TOKEN,
    ENV_DEVICE,
    ENV_REVISION,
    INSTANCE,
    MANAGED_BY,
    NAME,
    REVISION,
    RUNTIME,
)
from hpi_operator.plan.delivery import delivered_environment
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.quantities import canonical
from hpi_operator.plan.revisions import MANIFEST
from hpi_operator.plan.workload.parts import HTTP, HTTP_PORT, ClassPlan, TrackPlan
from hpi_operator.plan.workload.scheduling import scheduling, spread_constraints
from hpi_operator.plan.workload.storage import (
    AGENT_FOLDER,
    CLAIMS_FOLDER,
    CREDENTIALS_FOLDER,
    PIPELINE_FOLDER,
    STORE_FOLDER,
    Mounted,
    mounted_by_all,
    mounted_to_serve,
)

USER: Final = 10001
"""User and group of the serving process; the images have it."""

MANIFEST_PATH: Final = f"{PIPELINE_FOLDER}/{MANIFEST}"
PRE_STOP_SECONDS: Final = 5
"""How long a pod that ends goes on taking requests: until every proxy has heard that it ends."""
EXIT_MARGIN_SECONDS: Final = 10
PROBE_SECONDS: Final = 5
LIVENESS_SECONDS: Final = 10
START_MARGIN_SECONDS: Final = 60
"""What starting takes beside loading all engines: interpreter, libraries, a first inference."""

CONTAINER_SECURITY: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_security(*, group: bool = True) -> dict[str, Any]:
    """Return the security context of a pod, within Pod Security `restricted`.

    Args:
        group: Whether volumes belong to the pod's group.
    """
    written: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {**written, "fsGroup": USER} if group else written


def pod_template(plan: TrackPlan) -> Manifest:
    """Return the template of a Deployment's pods."""
    template = plan.pipeline.spec.pod_template
    # The operator's own labels and annotations come last: a template cannot replace them.
    labels = {
        **template.labels,
        NAME: "hpi",
        INSTANCE: plan.owner.name,
        MANAGED_BY: "hpi-operator",
        REVISION: plan.revision.name,
        **plan.selector,
    }
    annotations = {**template.annotations, RUNTIME: plan.class_plan.chosen.name}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": _pod_spec(plan)}


def _pod_spec(plan: TrackPlan) -> dict[str, Any]:
    by_all = mounted_by_all(plan.pipeline, plan.revision, plan.class_plan.chosen.record, plan.settings)
    mounted = [*by_all, *mounted_to_serve(plan.pipeline)]
    drain_seconds = plan.pipeline.spec.serving.timeouts.drain_seconds
    return {
        **common_spec(plan.owner.name, plan.pipeline, plan.class_plan, mounted),
        "terminationGracePeriodSeconds": PRE_STOP_SECONDS + drain_seconds + EXIT_MARGIN_SECONDS,
        "topologySpreadConstraints": list(
            spread_constraints(plan.pipeline.spec.placement.topology_spread, plan.selector)
        ),
        "containers": [_container(plan, mounted)],
    }


def common_spec(
    account: str, pipeline: HPIPipeline, class_plan: ClassPlan, mounted: Iterable[Mounted]
) -> dict[str, Any]:
    """Return what every pod of a pipeline has, whether it serves or builds ahead; containers are left out."""
    template = pipeline.spec.pod_template
    optional: dict[str, Any] = {
        "imagePullSecrets": [{"name": one.name} for one in template.image_pull_secrets],
        "resourceClaims": [
            {"name": one.name, "resourceClaimTemplateName": one.resource_claim_template_name}
            for one in template.resource_claims
        ],
    }
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "volumes": [one.volume for one in mounted],
        **scheduling(pipeline, class_plan),
        **{key: value for key, value in optional.items() if value},
    }


def _container(plan: TrackPlan, mounted: Sequence[Mounted]) -> dict[str, Any]:
    scheme = "HTTPS" if plan.pipeline.spec.serving.tls is not None else "HTTP"
    ready = {"path": "/v2/health/ready", "port": HTTP, "scheme": scheme}
    live = {"path": "/v2/health/live", "port": HTTP, "scheme": scheme}
    start_seconds = plan.pipeline.spec.build.timeout_seconds + START_MARGIN_SECONDS
    listen = ["--host", "0.0.0.0", "--port", str(HTTP_PORT)]  # noqa: S104
    return {
        **common_container(plan.pipeline, plan.class_plan, plan.revision.name, plan.settings, mounted),
        "name": "serve",
        "args": ["serve", "-f", MANIFEST_PATH, *listen],
        "ports": [{"name": HTTP, "containerPort": HTTP_PORT, "protocol": "TCP"}],
        # A pod that ends says why in its log; the status of the pipeline repeats it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Started: models are there and an engine answers. Ready: a real inference passed on the engine that serves.
        # Live: the server's own loop turns; a worker that died is replaced inside.
        "startupProbe": {
            "httpGet": ready,
            # Each second: a pod that has begun to answer is not left waiting for the next look.
            "periodSeconds": 1,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": start_seconds,
        },
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": live,
            "periodSeconds": LIVENESS_SECONDS,
            "timeoutSeconds": LIVENESS_SECONDS,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
    }


def common_container(
    pipeline: HPIPipeline, class_plan: ClassPlan, revision: str, settings: Settings, mounted: Iterable[Mounted]
) -> dict[str, Any]:
    """Return what the one container of every pod of a pipeline has; name and arguments are left out."""
    return {
        "image": class_plan.chosen.record.image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": list(_environment(class_plan, revision, settings)),
        "resources": _resources(pipeline, class_plan),
        "securityContext": dict(CONTAINER_SECURITY),
        "volumeMounts": [one.mount for one in mounted],
    }


def _resources(pipeline: HPIPipeline, class_plan: ClassPlan) -> dict[str, Any]:
    template, offered = pipeline.spec.pod_template, class_plan.offered
    requests, limits = (
        {name: canonical(quantity) for name, quantity in asked.items()}
        for asked in (template.resources.requests, template.resources.limits)
    )
    if offered.resource is not None:
        # Extended resources are never shared: limit and request are one.
        requests[offered.resource] = limits[offered.resource] = canonical(str(offered.accelerator.count or 1))
    claims = [{"name": one.name} for one in template.resource_claims]
    written = {"requests": requests, "limits": limits, "claims": claims}
    return {key: value for key, value in written.items() if value}


def _environment(class_plan: ClassPlan, revision: str, settings: Settings) -> Iterator[dict[str, Any]]:
    yield {"name": "HPI_STORE", "value": STORE_FOLDER}
    yield {"name": "HPI_CREDENTIALS", "value": CREDENTIALS_FOLDER}
    yield {"name": "HPI_CLAIMS", "value": CLAIMS_FOLDER}
    yield {"name": ENV_DEVICE, "value": class_plan.data.device}
    yield {"name": ENV_REVISION, "value": revision}
    yield from agent_environment(settings)
    record = class_plan.chosen.record
    if record.variant is not None and record.lock_digest is not None:
        yield from delivered_environment(record.variant, record.lock_digest)
    # Whatever writes beside the store, writes into scratch.
    yield {"name": "HOME", "value": "/tmp"}  # noqa: S108
    for name, value in sorted(class_plan.data.environment.items()):
        yield {"name": name, "value": value}


def agent_environment(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the variables by which a pod finds its node's agent, and the token that is for it alone."""
    yield {"name": ENV_AGENT_TOKEN, "value": f"{AGENT_FOLDER}/token"}
    yield {"name": "HOST_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}}
    yield {"name": ENV_AGENT, "value": f"http://$(HOST_IP):{settings.agent_port}"}
