"""The pod that serves: no Kubernetes credentials, nothing writable but scratch, one token for the node's agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from hpi_core.api.v1alpha1.placement import TopologySpread
from hpi_core.api.v1alpha1.pod_template import Toleration
from hpi_core.names import (
    AGENT_AUDIENCE,
    INSTANCE,
    MANAGED_BY,
    NAME,
    REVISION,
    RUNTIME,
    USABLE,
    child_name,
    node_runtime_label,
)
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.placement import ARCHITECTURE
from hpi_operator.plan.revisions import MANIFEST
from hpi_operator.plan.workload.parts import HTTP, HTTP_PORT, TrackPlan

USER: Final = 10001
"""User and group of the serving process; the images have it."""

PIPELINE_FOLDER: Final = "/etc/hpi/pipeline"
CREDENTIALS_FOLDER: Final = "/etc/hpi/credentials"
CLAIMS_FOLDER: Final = "/var/lib/hpi/claims"
STORE_FOLDER: Final = "/var/lib/hpi/store"
AGENT_FOLDER: Final = "/var/run/secrets/hpi-agent"
TLS_FOLDER: Final = "/etc/hpi/tls"
TLS_CA_FOLDER: Final = "/etc/hpi/tls-client-ca"
TOKENS_FOLDER: Final = "/etc/hpi/tokens"

TOKEN_SECONDS: Final = 3600
DEFAULT_SCRATCH_BYTES: Final = 20 * 2**30
PRE_STOP_SECONDS: Final = 5
"""How long a pod that ends goes on taking requests: until every proxy has heard that it ends."""
EXIT_MARGIN_SECONDS: Final = 10
PROBE_SECONDS: Final = 5

SPREAD: Final = {"Preferred": "ScheduleAnyway", "Required": "DoNotSchedule"}


def pod_template(plan: TrackPlan) -> Manifest:
    """Return the template of a Deployment's pods."""
    template = plan.pipeline.spec.pod_template
    chosen = plan.class_plan.chosen.runtime.metadata.name
    # The operator's own labels and annotations come last: a template cannot replace them.
    labels = {
        **template.labels,
        NAME: "hpi",
        INSTANCE: plan.owner.name,
        MANAGED_BY: "hpi-operator",
        REVISION: plan.revision.name,
        **plan.selector,
    }
    annotations = {**template.annotations, RUNTIME: chosen}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod_spec(plan)}


def pod_spec(plan: TrackPlan) -> dict[str, Any]:
    """Return the spec of a serving pod."""
    template, placement = plan.pipeline.spec.pod_template, plan.pipeline.spec.placement
    spec: dict[str, Any] = {
        "serviceAccountName": plan.owner.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": PRE_STOP_SECONDS
        + plan.pipeline.spec.serving.timeouts.drain_seconds
        + EXIT_MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": _node_selector(plan),
        "tolerations": [*plan.class_plan.data.tolerations, *map(_toleration, template.tolerations)],
        "topologySpreadConstraints": list(_spread(plan, placement.topology_spread)),
        "containers": [container(plan)],
        "volumes": list(_volumes(plan)),
    }
    affinity = _affinity(plan)
    optional: dict[str, Any] = {
        "affinity": affinity,
        "schedulerName": placement.scheduler_name,
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name or plan.class_plan.data.runtime_class,
        "imagePullSecrets": [{"name": one.name} for one in template.image_pull_secrets],
        "resourceClaims": [
            {"name": one.name, "resourceClaimTemplateName": one.resource_claim_template_name}
            for one in template.resource_claims
        ],
    }
    return spec | {key: value for key, value in optional.items() if value}


def container(plan: TrackPlan) -> dict[str, Any]:
    """Return the one container of a serving pod."""
    scheme = "HTTPS" if plan.pipeline.spec.serving.tls is not None else "HTTP"
    ready = {"path": "/v2/health/ready", "port": HTTP, "scheme": scheme}
    live = {"path": "/v2/health/live", "port": HTTP, "scheme": scheme}
    start_seconds = plan.pipeline.spec.build.timeout_seconds + 60
    claims = [{"name": one.name} for one in plan.pipeline.spec.pod_template.resource_claims]
    resources: dict[str, Any] = _resources(plan)
    if claims:
        resources["claims"] = claims
    return {
        "name": "serve",
        "image": plan.class_plan.chosen.image,
        "imagePullPolicy": plan.settings.image_pull_policy,
        "args": ["serve", "-f", f"{PIPELINE_FOLDER}/{MANIFEST}", "--host", "0.0.0.0", "--port", str(HTTP_PORT)],  # noqa: S104
        "ports": [{"name": HTTP, "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "env": list(_environment(plan)),
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Started: models are there and an engine answers. Ready: a real inference passed on the engine that serves.
        # Live: the server's own loop turns; a worker that died is replaced inside.
        "startupProbe": {
            "httpGet": ready,
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": -(-start_seconds // PROBE_SECONDS),
        },
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": live,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "volumeMounts": list(_mounts(plan)),
    }


def claims_of(plan: TrackPlan) -> tuple[str, ...]:
    """Return the claims that models come from, sorted."""
    spec = plan.pipeline.spec
    models = [module.model for module in spec.modules if module.model is not None]
    if spec.module is not None:
        models.append(spec.module.model)
    sources = [urlsplit(model.source) for model in models if model.source is not None]
    return tuple(sorted({source.netloc for source in sources if source.scheme == "pvc"}))


def secrets_of(plan: TrackPlan) -> tuple[str, ...]:
    """Return the Secrets with credentials of model sources, sorted."""
    spec = plan.pipeline.spec
    models = [module.model for module in spec.modules if module.model is not None]
    if spec.module is not None:
        models.append(spec.module.model)
    return tuple(sorted({one.credentials_secret_ref.name for one in models if one.credentials_secret_ref is not None}))


def _node_selector(plan: TrackPlan) -> dict[str, str]:
    chosen, requirements = plan.class_plan.chosen, plan.class_plan.offered.accelerator.requirements
    return {
        **requirements.node_selector,
        **plan.pipeline.spec.pod_template.node_selector,
        ARCHITECTURE: chosen.architecture,
        node_runtime_label(chosen.runtime.metadata.name): USABLE,
    }


def _affinity(plan: TrackPlan) -> dict[str, Any] | None:
    """Return what a node selector cannot say: values of labels that fit the requirements, as nodes have them now."""
    data, requirements = plan.class_plan.data, plan.class_plan.offered.accelerator.requirements
    asks = (
        requirements.products,
        requirements.chips,
        requirements.min_compute_capability,
        requirements.max_compute_capability,
        requirements.min_driver,
        requirements.max_driver,
        requirements.min_memory_bytes,
    )
    if not any(asks):
        return None
    expressions = []
    for key in sorted(data.label_keys):
        values = sorted({group.labels[key] for group in plan.class_plan.chosen.groups if key in group.labels})
        if values and len(values) == len({group.labels.get(key) for group in plan.class_plan.chosen.groups}):
            expressions.append({"key": key, "operator": "In", "values": values})
    if not expressions:
        return None
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
        }
    }


def _toleration(toleration: Toleration) -> dict[str, Any]:
    written: dict[str, Any] = toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written


def _spread(plan: TrackPlan, spread: TopologySpread) -> Iterator[dict[str, Any]]:
    for key, wish in (("kubernetes.io/hostname", spread.nodes), ("topology.kubernetes.io/zone", spread.zones)):
        if wish != "Disabled":
            yield {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": SPREAD[wish],
                "labelSelector": {"matchLabels": plan.selector},
                # A rollout's new pods spread among themselves, not around those that are about to go.
                "matchLabelKeys": [REVISION],
            }


def _resources(plan: TrackPlan) -> dict[str, Any]:
    asked = plan.pipeline.spec.pod_template.resources
    requests, limits = dict(asked.requests), dict(asked.limits)
    offered = plan.class_plan.offered
    if offered.resource is not None:
        # Extended resources are never shared: limit and request are one.
        count = str(offered.accelerator.count or 1)
        requests[offered.resource] = limits[offered.resource] = count
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _environment(plan: TrackPlan) -> Iterator[dict[str, Any]]:
    yield {"name": "HPI_STORE", "value": STORE_FOLDER}
    yield {"name": "HPI_CREDENTIALS", "value": CREDENTIALS_FOLDER}
    yield {"name": "HPI_CLAIMS", "value": CLAIMS_FOLDER}
    yield {"name": "HPI_DEVICE", "value": plan.class_plan.data.device}
    yield {"name": "HPI_REVISION", "value": plan.revision.name}
    yield {"name": "HPI_AGENT_TOKEN", "value": f"{AGENT_FOLDER}/token"}
    yield {"name": "HOST_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}}
    yield {"name": "HPI_AGENT", "value": f"http://$(HOST_IP):{plan.settings.agent_port}"}
    # Whatever writes beside the store, writes into scratch.
    yield {"name": "HOME", "value": "/tmp"}  # noqa: S108
    for name, value in sorted(plan.class_plan.data.environment.items()):
        yield {"name": name, "value": value}


def _volumes(plan: TrackPlan) -> Iterator[dict[str, Any]]:
    cache = plan.pipeline.spec.cache
    yield {"name": "pipeline", "configMap": {"name": plan.revision.config_map, "defaultMode": 0o440}}
    yield {"name": "tmp", "emptyDir": {}}
    yield {
        "name": "agent-token",
        "projected": {
            "defaultMode": 0o440,
            "sources": [
                {
                    "serviceAccountToken": {
                        "audience": AGENT_AUDIENCE,
                        "expirationSeconds": TOKEN_SECONDS,
                        "path": "token",
                    }
                }
            ],
        },
    }
    if cache.medium == "PersistentVolumeClaim":
        claim = cache.claim_name or cache_claim_name(plan)
        yield {"name": "store", "persistentVolumeClaim": {"claimName": claim}}
    else:
        yield {"name": "store", "emptyDir": {"sizeLimit": str(cache.size_bytes or DEFAULT_SCRATCH_BYTES)}}
    for number, claim in enumerate(claims_of(plan)):
        yield {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    for number, secret in enumerate(secrets_of(plan)):
        yield {"name": f"credentials-{number}", "secret": {"secretName": secret, "defaultMode": 0o440}}
    yield from _serving_volumes(plan)


def _serving_volumes(plan: TrackPlan) -> Iterable[dict[str, Any]]:
    serving = plan.pipeline.spec.serving
    if serving.tls is not None:
        yield {"name": "tls", "secret": {"secretName": serving.tls.secret_ref.name, "defaultMode": 0o440}}
        if serving.tls.client_ca_secret_ref is not None:
            yield {
                "name": "tls-client-ca",
                "secret": {"secretName": serving.tls.client_ca_secret_ref.name, "defaultMode": 0o440},
            }
    if serving.auth.tokens_secret_ref is not None:
        yield {"name": "tokens", "secret": {"secretName": serving.auth.tokens_secret_ref.name, "defaultMode": 0o440}}


def _mounts(plan: TrackPlan) -> Iterator[dict[str, Any]]:
    yield {"name": "pipeline", "mountPath": PIPELINE_FOLDER, "readOnly": True}
    yield {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108
    yield {"name": "agent-token", "mountPath": AGENT_FOLDER, "readOnly": True}
    yield {"name": "store", "mountPath": STORE_FOLDER}
    for number, claim in enumerate(claims_of(plan)):
        yield {"name": f"claim-{number}", "mountPath": f"{CLAIMS_FOLDER}/{claim}", "readOnly": True}
    for number, secret in enumerate(secrets_of(plan)):
        yield {"name": f"credentials-{number}", "mountPath": f"{CREDENTIALS_FOLDER}/{secret}", "readOnly": True}
    folders = {"tls": TLS_FOLDER, "tls-client-ca": TLS_CA_FOLDER, "tokens": TOKENS_FOLDER}
    for volume in _serving_volumes(plan):
        yield {"name": volume["name"], "mountPath": folders[volume["name"]], "readOnly": True}


def cache_claim_name(plan: TrackPlan) -> str:
    """Return the name of the claim that the operator makes."""
    return child_name(plan.owner.name, "cache")
