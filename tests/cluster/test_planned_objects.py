"""Everything that the operator's builders can make, taken by a real API server where Pod Security is `restricted`.

Nothing is to be written twice: what is stored is what was stated, in the server's own spelling.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import FIELD_MANAGER, SELF_TEST_ACCOUNT
from hpi_operator.act.drift import differs, stamped, why
from hpi_operator.install.installation import Installation
from hpi_operator.install.namespaces import account_of_self_tests
from hpi_operator.kube.resources import path_of
from hpi_operator.observe.projections import child
from hpi_operator.plan.intent import Manifest, key_of
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.pipeline import plan_pipeline
from hpi_operator.plan.quantities import canonical, whole_units
from support.cluster_client import APPLY, MERGE, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.everything import ROUTE_KIND
from support.kinds import manifest
from support.manifests import Document
from support.nodes import a_node
from support.observed import (
    CLASSES,
    a_digest,
    a_runtime,
    a_supply,
    an_observed_node,
    observed,
    on,
    usual_runtimes,
)
from support.small_cluster import SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"
STRICT = {"fieldValidation": "Strict"}
DRY_RUN = {"dryRun": "All"}
NUMBERS = count(1)
NODES = [
    a_node("c"),
    a_node("arm", architecture="arm64"),
    a_node("g", gpus=4, labels={"disk": "ssd", "pool": "inference", "example.com/zone": "east"}),
    a_node("m", mig={"1g.10gb": 4}, labels={"disk": "ssd", "pool": "inference", "example.com/zone": "east"}),
    a_node("a", npus=4, labels={"disk": "ssd"}),
]
MODELS: list[Document] = [
    {
        "path": "SubModules.TextDetection",
        "model": {
            "name": "det",
            "source": "s3://models/det",
            "endpoint": "https://minio.example:9000",
            "digest": a_digest("1"),
            "credentialsSecretRef": {"name": "reader"},
        },
    },
    {"path": "SubModules.TextRecognition", "model": {"name": "rec", "source": "pvc://models/rec"}},
]
FULL: Document = manifest("HPIPipeline", "full")["spec"]
TLS = {"secretRef": {"name": "cert"}, "clientCaSecretRef": {"name": "ca"}}
FIRST_MODEL: Document = {**MODELS[0]["model"]}
DIMENSIONS: dict[str, list[Document]] = {
    "what": [
        {"pipeline": "OCR"},
        {"config": FULL["config"], "modules": MODELS},
        {"module": {"name": "text_detection", "model": FIRST_MODEL}},
    ],
    "placement": [
        {"placement": on("CPU")},
        {"placement": on("NVIDIA", count=2)},
        {"placement": on("Ascend", "NVIDIA", "CPU", policy="Spill")},
        {"placement": on("NVIDIA", requirements={"products": ["NVIDIA A100-SXM4-40GB"], "minDriver": "535"})},
        {
            "placement": {
                **on("NVIDIA", resourceName="nvidia.com/mig-1g.10gb", requirements={"minComputeCapability": "8.0"}),
                "schedulerName": "volcano",
                "topologySpread": {"nodes": "Required", "zones": "Disabled"},
            }
        },
    ],
    "scale": [
        {"replicas": 0},
        {"replicas": 3},
        {"autoscaling": {"maxReplicas": 3}},
        {"autoscaling": FULL["autoscaling"]},
    ],
    "cache": [
        {},
        {"cache": {"medium": "Ephemeral", "sizeBytes": 3 * 10**9}},
        {"cache": {**FULL["cache"], "sizeBytes": 50 * 2**30 + 512}},
        {"cache": {"medium": "PersistentVolumeClaim", "claimName": "mine"}},
    ],
    "serving": [
        {},
        {"serving": {"tls": TLS, "auth": {"type": "BearerToken", "tokensSecretRef": {"name": "callers"}}}},
        {"serving": FULL["serving"]},
    ],
    "rollout": [
        {},
        {"rollout": {"maxFailedReplicas": "25%", "progressDeadlineSeconds": 1}},
        {"rollout": {"maxFailedReplicas": 0, "strategy": "Canary", "steps": [{"weightPercent": 5}]}},
    ],
    "route": [{}, {"route": FULL["route"]}, {"route": {"parentRefs": [{"name": "g"}]}}],
    "availability": [{}, {"availability": {"maxUnavailable": 0}}, {"availability": {"maxUnavailable": "25%"}}],
    "build": [{}, {"build": {"policy": "Prebuild", "timeoutSeconds": 86_400, "driverMatch": "Major"}}],
    "template": [
        {},
        {"podTemplate": {**FULL["podTemplate"], "nodeSelector": {}, "runtimeClassName": "nvidia"}},
        {
            "podTemplate": {
                "resources": {
                    "requests": {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": "0.5Gi"},
                    "limits": {"cpu": "1.5", "memory": "1.1Gi", "ephemeral-storage": "2000000000"},
                },
                "tolerations": [{"operator": "Exists"}],
            }
        },
    ],
}


def specs() -> Iterator[tuple[str, Document]]:
    """Yield specs: every value of every dimension on a small pipeline, and values of all dimensions mixed."""
    first = {key: value for values in DIMENSIONS.values() for key, value in values[0].items()}
    for name, values in DIMENSIONS.items():
        for place, value in enumerate(values):
            rest = {key: other for key, other in first.items() if key not in DIMENSIONS[name][0]}
            yield f"{name}-{place}", {**rest, **value}
    for seed in range(40):
        pick = random.Random(seed).choice
        yield f"mixed-{seed}", {key: one for values in DIMENSIONS.values() for key, one in pick(values).items()}


SPECS = dict(specs())


def planned(spec: Document, namespace: str) -> list[Manifest]:
    """Return every object of a pipeline: at its beginning, and while another revision is a canary."""
    name = f"p{next(NUMBERS)}"
    document = {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIPipeline",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    pipeline = HPIPipeline.model_validate(document)
    runtimes = [a_runtime(architectures=("amd64", "arm64"), index=True), *usual_runtimes()[1:]]
    supply = a_supply(*NODES, asked=["disk", "pool", "example.com/zone"])
    begun = plan_pipeline(observed(pipeline, supply=supply, runtimes=runtimes, apis=frozenset({GATEWAY})), CLASSES)
    made = {key_of(one): one for one in begun.apply}
    assert made, begun.status
    cluster = SmallCluster(pipeline, NODES, runtimes=runtimes, apis=[GATEWAY])
    cluster.settle()
    cluster.change(serving={"timeouts": {"requestSeconds": 7}})
    cluster.wait(10)
    made |= {key_of(one): one for one in cluster.plan().apply}
    # No pod is admitted without its account.
    return [one for key, one in sorted(made.items(), key=lambda item: (item[0].kind != "ServiceAccount", item[0]))]


@pytest.fixture(scope="module")
def client(kinds_served: ControlPlane) -> Iterator[ClusterClient]:
    """The admin, in a cluster that has what pods may ask for."""
    admin = ClusterClient(kinds_served)
    found = admin.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    if ROUTE_KIND["metadata"]["name"] not in {one["metadata"]["name"] for one in found}:
        admin.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ROUTE_KIND)
    admin.apply(
        "/apis/scheduling.k8s.io/v1/priorityclasses/serving",
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "serving"}, "value": 1},
        manager="test",
    )
    admin.apply(
        "/apis/node.k8s.io/v1/runtimeclasses/nvidia",
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
        manager="test",
    )
    yield admin
    admin.close()


@pytest.fixture
def restricted(client: ClusterClient, namespace: str) -> str:
    """A namespace that takes no pod beyond Pod Security `restricted`."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    client.request("PATCH", f"/api/v1/namespaces/{namespace}", label, content_type=MERGE)
    return namespace


def applied(client: ClusterClient, intent: Manifest, *, dry_run: bool) -> Document:
    """Apply an object as the operator does, with unknown fields refused; return it as it is stored."""
    key = key_of(intent)
    query = {"fieldManager": FIELD_MANAGER, "force": "false", **STRICT, **(DRY_RUN if dry_run else {})}
    return client.request("PATCH", path_of(key), dict(intent), content_type=APPLY, query=query)


@pytest.mark.parametrize("name", SPECS)
def test_every_object_is_taken_and_pods_are_admitted(client: ClusterClient, restricted: str, name: str) -> None:
    objects = planned(SPECS[name], restricted)

    for one in objects:
        applied(client, stamped(one), dry_run=one["kind"] != "ServiceAccount")
        if one["kind"] in ("Deployment", "Job"):
            template = one["spec"]["template"]
            pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "pod"}}
            client.request("POST", f"/api/v1/namespaces/{restricted}/pods", pod, query={**STRICT, **DRY_RUN})

    assert {"ConfigMap", "ServiceAccount", "Service", "PodDisruptionBudget"} <= {one["kind"] for one in objects}


def test_the_specs_make_every_kind_of_object(restricted: str) -> None:
    names = ("route-1", "cache-2", "scale-3", "rollout-2")
    ahead = {key: value for key, value in SPECS["build-1"].items() if key != "pipeline"} | DIMENSIONS["what"][1]
    made = [ahead, *(SPECS[name] for name in names)]
    kinds = {one["kind"] for spec in made for one in planned(spec, restricted)}

    assert kinds == {
        "ConfigMap",
        "Deployment",
        "HPIEngine",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "Job",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


@pytest.mark.parametrize("name", [name for name in SPECS if not name.startswith("mixed-") or name < "mixed-2"])
def test_what_was_applied_needs_no_second_write(client: ClusterClient, restricted: str, name: str) -> None:
    intents = [stamped(one) for one in planned(SPECS[name], restricted)]

    for intent in intents:
        applied(client, intent, dry_run=False)

    for intent in intents:
        live = child(client.request("GET", path_of(key_of(intent))))
        assert not differs(live, intent), why(live, intent)


def test_what_is_applied_again_is_not_stored_again(client: ClusterClient, restricted: str) -> None:
    intents = [stamped(one) for one in planned(SPECS["mixed-7"], restricted)]

    versions = [
        [applied(client, intent, dry_run=False)["metadata"]["resourceVersion"] for intent in intents] for _ in range(2)
    ]

    assert versions[0] == versions[1]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_objects_of_a_node_are_taken_and_its_self_tests_admitted(
    client: ClusterClient, restricted: str, node: Any
) -> None:
    runtimes = [a_runtime(architectures=("amd64", "arm64"), index=True), *usual_runtimes()[1:]]
    seen = an_observed_node(node, runtimes=runtimes)
    hpi_node, *tests = plan_node(seen, CLASSES).apply

    applied(client, stamped(hpi_node), dry_run=True)
    account = account_of_self_tests(Installation("i:1", namespace=restricted))
    client.apply(f"/api/v1/namespaces/{restricted}/serviceaccounts/{SELF_TEST_ACCOUNT}", dict(account), manager="tests")

    assert tests
    for test in tests:
        here = {**test, "metadata": {**test["metadata"], "namespace": restricted}}
        applied(client, stamped(here), dry_run=True)


def stored_spellings(client: ClusterClient, namespace: str, written: list[str]) -> list[str]:
    """Return quantities as the server stores them: limits of so many containers of one Deployment."""
    containers = [
        {"name": f"c{place}", "image": "x", "resources": {"limits": {"memory": quantity}}}
        for place, quantity in enumerate(written)
    ]
    labels = {"app": "quantities"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "quantities"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    stored = client.request("POST", path, deployment, query=DRY_RUN)["spec"]["template"]["spec"]["containers"]
    return [one["resources"]["limits"]["memory"] for one in stored]


LARGEST = 10**21
"""Beyond it the server has no suffix any more, and nobody has such an amount of anything."""
numbers = st.one_of(
    st.integers(0, 10**12).map(str),
    st.integers(0, 5_000).map(str),
    st.decimals(0, 10**6, places=5).map(lambda number: format(number, "f")),
    st.integers(1, 64).map(lambda number: str(number * 1024)),
)
quantities = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    numbers,
    st.sampled_from(["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"]),
).filter(lambda text: len(text) <= 32 and whole_units(text) < LARGEST)


@settings(max_examples=30, deadline=None)
@given(st.lists(quantities, min_size=30, max_size=60))
def test_quantities_are_spelled_as_the_server_spells_them(kinds_served: ControlPlane, written: list[str]) -> None:
    client = ClusterClient(kinds_served)
    try:
        stored = stored_spellings(client, "default", written)
    finally:
        client.close()

    assert [canonical(one) for one in written] == stored
