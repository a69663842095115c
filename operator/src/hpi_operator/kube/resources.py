"""Where the objects of each kind live in the API: a table, so that no start waits for discovery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.errors import Bug
from hpi_operator.plan.intent import ObjectKey


@dataclass(frozen=True)
class Resource:
    """The objects of one kind."""

    api_version: str
    """Such as `apps/v1`."""
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The group, empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def crd(self) -> str:
        """Plural and group: `hpinodes.hpi.paddlex.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def key(self, name: str, namespace: str = "") -> ObjectKey:
        """Return what names one of the objects."""
        return ObjectKey(self.api_version, self.kind, namespace, name)

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, of a namespace's objects, or of all."""
        root = "/apis/" if self.group else "/api/"
        parts = [root + self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


NODES: Final = Resource("v1", "Node", "nodes", namespaced=False)
NAMESPACES: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
PODS: Final = Resource("v1", "Pod", "pods")
SERVICES: Final = Resource("v1", "Service", "services")
SERVICE_ACCOUNTS: Final = Resource("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAPS: Final = Resource("v1", "ConfigMap", "configmaps")
SECRETS: Final = Resource("v1", "Secret", "secrets")
CLAIMS: Final = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
DEPLOYMENTS: Final = Resource("apps/v1", "Deployment", "deployments")
JOBS: Final = Resource("batch/v1", "Job", "jobs")
BUDGETS: Final = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALERS: Final = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICIES: Final = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
CUSTOM_RESOURCES: Final = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
EVENTS: Final = Resource("events.k8s.io/v1", "Event", "events")
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
OWN: Final = {
    kind.name: Resource(API_VERSION, kind.name, kind.plural, namespaced=kind.scope == "Namespaced") for kind in KINDS
}
"""The five kinds of the project, by name."""

PIPELINES: Final = OWN["HPIPipeline"]
ENGINES: Final = OWN["HPIEngine"]
RUNTIMES: Final = OWN["HPIRuntime"]
NODE_POOLS: Final = OWN["HPINodePool"]
HPI_NODES: Final = OWN["HPINode"]

CHILDREN: Final = (
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    CLAIMS,
    DEPLOYMENTS,
    SERVICES,
    BUDGETS,
    AUTOSCALERS,
    NETWORK_POLICIES,
    JOBS,
)
"""What belongs to a pipeline, HTTPRoutes left out: their API may be missing."""

_ALL: Final = {
    (resource.api_version, resource.kind): resource
    for resource in (
        NODES,
        NAMESPACES,
        PODS,
        SERVICES,
        SERVICE_ACCOUNTS,
        CONFIG_MAPS,
        SECRETS,
        CLAIMS,
        DEPLOYMENTS,
        JOBS,
        BUDGETS,
        AUTOSCALERS,
        NETWORK_POLICIES,
        ROUTES,
        CUSTOM_RESOURCES,
        LEASES,
        EVENTS,
        ACCESS_REVIEWS,
        *OWN.values(),
    )
}


def resource_of(api_version: str, kind: str) -> Resource:
    """Return the resource of a kind.

    Raises:
        Bug: The table lacks it.
    """
    try:
        return _ALL[(api_version, kind)]
    except KeyError:
        raise Bug(f"the table of resources has no {kind} of {api_version}") from None


def path_of(key: ObjectKey, subresource: str | None = None) -> str:
    """Return the path of one object."""
    return resource_of(key.api_version, key.kind).path(key.namespace or None, key.name, subresource)
