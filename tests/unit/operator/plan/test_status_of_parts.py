"""What the status says of models, engines, route, claim and autoscaler, within the bounds of the kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.kinds import PIPELINE
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount, PipelineStatus
from hpi_core.digest import canonical_json
from hpi_operator.plan.intent import ObjectKey, Plan, Refusal
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline
from support.kinds import manifest
from support.nodes import a_node
from support.observed import CLASSES, NAMESPACE, a_pipeline, a_pod, observed
from support.small_cluster import SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"


ROUTE = {"parentRefs": [{"name": "public"}]}


def plan(seen: ObservedPipeline) -> Plan:
    """Return the plan."""
    return plan_pipeline(seen, CLASSES)


def status_of(seen: ObservedPipeline) -> PipelineStatus:
    """Return the planned status, as the API server would take it."""
    return PipelineStatus.model_validate(json.loads(canonical_json(plan(seen).status)))


def condition(status: PipelineStatus, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    one = next(one for one in status.conditions if one.type == type_)
    return one.status, one.reason, one.message


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, ("Unknown", "NotReported")),
        ({"measured": 2}, ("True", "Measured")),
        ({"measured": 1, "provisional": 1}, ("True", "Provisional")),
        ({"measured": 1, "fallback": 1}, ("False", "Fallback")),
        ({"measured": 1, "fallback": 1, "building": 1}, ("False", "Building")),
    ],
)
def test_engine_active_sums_up_what_agents_report(counts: dict[str, int], expected: tuple[str, str]) -> None:
    status = status_of(observed(engine_active={"a": ActiveCount(**counts), "b": ActiveCount()}))

    assert condition(status, "EngineActive")[:2] == expected
    assert status.engine_active == ActiveCount(**counts)


def test_agents_words_are_repeated() -> None:
    seen = observed(engine_active={"a": ActiveCount(fallback=1)}, engine_messages=("n-1: TensorRT is missing",))

    assert condition(status_of(seen), "EngineActive")[2] == "n-1: TensorRT is missing"


def an_engine(name: str, model: str, **status: Any) -> HPIEngine:
    """Return an HPIEngine."""
    document = manifest("HPIEngine", "minimal")
    return HPIEngine.model_validate(
        {
            **document,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {**document["spec"], "modelName": model},
            **({"status": status} if status else {}),
        }
    )


DECIDED = {
    "chosen": "openvino",
    "candidates": [
        {
            "name": "openvino",
            "backend": "openvino",
            "precision": "float32",
            "p50Microseconds": 8400,
            "verdict": "Chosen",
            "reason": "fastest",
        }
    ],
}


def test_each_model_says_what_was_asked_and_what_it_runs_on() -> None:
    pipeline = a_pipeline(
        modules=[
            {
                "path": "SubModules.TextDetection",
                "model": {"name": "det"},
                "inference": {"hpiConfig": {"backend": "tensorrt"}},
            }
        ]
    )
    engines = (an_engine("e-1", "det", **DECIDED), an_engine("e-2", "rec"), an_engine("e-3", "unused", **DECIDED))

    status = status_of(observed(pipeline, engines=engines, engines_in_use=("e-1", "e-2")))

    det, rec = status.models
    assert (det.name, det.path, det.wanted_backend, det.backend, det.p50_microseconds, det.reason) == (
        "det",
        "SubModules.TextDetection",
        "tensorrt",
        "openvino",
        8400,
        "fastest",
    )
    assert (rec.name, rec.backend, rec.reason) == ("rec", None, "not decided yet")
    assert status.backend == "openvino"
    assert (status.engines.wanted, status.engines.ready, status.engines.building) == (2, 1, 1)


def test_backends_of_models_without_an_engine_are_those_that_pods_serve_on() -> None:
    status = status_of(observed(backends_in_use=("openvino", "onnxruntime")))

    assert (status.backend, status.models) == ("onnxruntime, openvino", ())


def test_what_serves_counts_before_what_was_chosen() -> None:
    engines = (an_engine("e-1", "det", **DECIDED),)

    status = status_of(observed(engines=engines, engines_in_use=("e-1",), backends_in_use=("onnxruntime",)))

    assert (status.backend, status.models[0].backend) == ("onnxruntime", "openvino")


def test_two_long_names_of_models_that_begin_alike_do_not_break_the_status() -> None:
    engines = tuple(an_engine(f"e-{letter}", "m" * 100 + letter) for letter in "ab")

    status = status_of(observed(engines=engines, engines_in_use=("e-a", "e-b")))

    assert len(status.models) == 1


def routed(status: dict[str, Any] | None) -> tuple[str, str, str]:
    """Return the condition Routed, with a status of the live route."""
    cluster = SmallCluster(a_pipeline(route=ROUTE), [a_node("n")], apis=[GATEWAY])
    cluster.make_pass()
    cluster.named("HTTPRoute", "ocr").update({} if status is None else {"status": status})
    cluster.make_pass()
    return cluster.condition("Routed")


def test_a_route_is_there_when_a_gateway_says_so() -> None:
    accepted = {"type": "Accepted", "status": "True"}
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "host is taken"}

    assert routed(None)[:2] == ("Unknown", "RouteNotAccepted")
    assert routed({"parents": [{"parentRef": {"name": "public"}, "conditions": [accepted]}]})[:2] == (
        "True",
        "AsWanted",
    )
    assert routed({"parents": [{"parentRef": {"name": "public"}, "conditions": [refused]}]}) == (
        "False",
        "RouteNotAccepted",
        "Gateway public: NotAllowedByListeners: host is taken",
    )


def test_a_route_without_its_api_is_told() -> None:
    status = status_of(observed(a_pipeline(route=ROUTE)))

    assert condition(status, "Routed") == (
        "False",
        "ApiMissing",
        "spec.route needs gateway.networking.k8s.io/v1 HTTPRoute, which the cluster does not have",
    )


CACHE = {"medium": "PersistentVolumeClaim", "sizeBytes": 10 * 2**30, "storageClassName": "fast"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("True", "AsWanted", "")),
        ({"sizeBytes": 20 * 2**30}, ("True", "AsWanted", "")),
        (
            {"sizeBytes": 2**30},
            (
                "False",
                "ClaimDiffers",
                "claim ocr-cache cannot be changed: its size is 10737418240 bytes, wanted 1073741824: "
                "a claim cannot shrink",
            ),
        ),
        (
            {"storageClassName": "slow"},
            (
                "False",
                "ClaimDiffers",
                "claim ocr-cache cannot be changed: storageClassName is fast, wanted slow",
            ),
        ),
    ],
)
def test_a_claim_is_told_where_it_is_not_as_it_is_asked_for(
    change: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    cluster = SmallCluster(a_pipeline(cache=CACHE), [a_node("n")])
    cluster.settle()

    cluster.change(cache={**CACHE, **change})
    cluster.settle()

    assert cluster.condition("CacheReady") == expected


@pytest.mark.parametrize(
    ("modes", "replicas", "expected"),
    [
        ("ReadWriteOnce", 2, ("False", "AccessModeRefused")),
        ("ReadWriteOnce", 1, ("True", "AsWanted")),
        ("ReadWriteOnce,ReadWriteMany", 2, ("True", "AsWanted")),
        ("", 2, ("True", "AsWanted")),
    ],
)
def test_a_claim_that_one_pod_can_mount_serves_one_replica(
    modes: str, replicas: int, expected: tuple[str, str]
) -> None:
    pipeline = a_pipeline(replicas=replicas, cache={"medium": "PersistentVolumeClaim", "claimName": "mine"})
    key = ObjectKey("v1", "PersistentVolumeClaim", NAMESPACE, "mine")

    status = status_of(observed(pipeline, references={key: modes}))

    assert condition(status, "CacheReady")[:2] == expected


def test_an_autoscaler_that_cannot_scale_is_noted() -> None:
    cluster = SmallCluster(a_pipeline(autoscaling={"maxReplicas": 3}), [a_node("n")])
    cluster.make_pass()
    failing = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "no cpu"}
    cluster.named("HorizontalPodAutoscaler", "ocr-cpu")["status"] = {"conditions": [failing]}
    cluster.make_pass()

    assert cluster.status.notes == (
        "autoscaling by CPUUtilizationPercent needs spec.podTemplate.resources.requests.cpu: it scales nothing",
        "HorizontalPodAutoscaler ocr-cpu: FailedGetResourceMetric: no cpu",
    )


def test_the_largest_status_keeps_within_the_kinds_gate() -> None:
    long = "x" * 5_000
    modules = [
        {"path": f"SubModules.{'M' * 80}{number}", "model": {"name": "m" * 60 + str(number)}} for number in range(40)
    ]
    pods = tuple(
        a_pod(
            f"{'p' * 200}{number}",
            ready=False,
            waiting_reason="R" * 100,
            message=long,
            container="c" * 63,
            node="n" * 253,
            restarts=9,
            exit_code=1,
        )
        for number in range(50)
    )
    engines = tuple(an_engine(f"e-{number:040d}", "m" * 60 + str(number), **DECIDED) for number in range(40))
    seen = observed(
        a_pipeline("o" * 63, modules=modules, route=ROUTE, cache={**CACHE}, autoscaling={"maxReplicas": 9}),
        pods=pods,
        engines=engines,
        engines_in_use=tuple(one.metadata.name for one in engines),
        engine_active={"a": ActiveCount(fallback=1)},
        engine_messages=(long,) * 5,
        refusals=(Refusal("ObjectRefused", long),),
    )

    status = status_of(seen)

    assert len(status.model_dump_json(by_alias=True, exclude_none=True)) < PIPELINE.size_limit_bytes / 4
