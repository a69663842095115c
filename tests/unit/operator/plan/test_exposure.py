"""How a pipeline is reached and scaled: Service, NetworkPolicy, HTTPRoute, HorizontalPodAutoscaler."""

from __future__ import annotations

from hpi_operator.plan.pipeline import plan_pipeline
from support.observed import CLASSES, SETTINGS, a_pipeline, observed
from support.planned_objects import GATEWAY, the


def test_an_autoscaler_holds_its_measures_between_its_bounds() -> None:
    made = the(
        "HorizontalPodAutoscaler",
        autoscaling={
            "minReplicas": 2,
            "maxReplicas": 9,
            "targets": [
                {"metric": "QueueLength", "average": 1000},
                {"metric": "CPUUtilizationPercent", "average": 70},
            ],
        },
    )["spec"]

    assert made["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ocr-cpu"}
    assert (made["minReplicas"], made["maxReplicas"]) == (2, 9)
    assert made["metrics"][0]["pods"] == {
        "metric": {"name": "hpi_queue_length"},
        "target": {"type": "AverageValue", "averageValue": "1k"},
    }
    assert made["metrics"][1]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_pods_reach_names_agent_and_sources_and_no_credentials_of_the_node() -> None:
    made = the("NetworkPolicy")["spec"]

    assert made["policyTypes"] == ["Ingress", "Egress"]
    assert made["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    excluded = [one["ipBlock"]["except"] for one in made["egress"][2]["to"]]
    assert excluded == [["169.254.0.0/16"], ["fe80::/10", "fd00:ec2::254/128"]]
    [expression] = made["podSelector"]["matchExpressions"]
    assert expression["values"] == ["prebuild", "serving"]


def test_network_policies_can_be_left_out() -> None:
    seen = observed(settings=SETTINGS.__class__(namespace="hpi-system", network_policies=False))

    assert "NetworkPolicy" not in [one["kind"] for one in plan_pipeline(seen, CLASSES).apply]


def test_a_route_leads_from_its_path_to_both_tracks() -> None:
    route = {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["ocr.example.com"],
        "pathPrefix": "/ocr",
    }

    made = the("HTTPRoute", route=route)["spec"]

    assert made["parentRefs"] == [
        {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": "public",
            "namespace": "gateways",
            "sectionName": "https",
        }
    ]
    [rule] = made["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/ocr"}}]
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/"
    assert [(one["weight"], one["port"]) for one in rule["backendRefs"]] == [(100, 80), (0, 80)]
    services = {
        one["metadata"]["name"]: one["spec"]["selector"].get("hpi.paddlex.io/track")
        for one in plan_pipeline(observed(a_pipeline(route=route), apis=frozenset({GATEWAY})), CLASSES).apply
        if one["kind"] == "Service"
    }
    assert [services[one["name"]] for one in rule["backendRefs"]] == ["stable", "canary"]


def test_a_service_takes_pods_of_both_tracks_and_of_this_pipeline_alone() -> None:
    made = the("Service")["spec"]

    assert made["selector"] == {"hpi.paddlex.io/pipeline": "ocr", "hpi.paddlex.io/part": "serving"}
    assert made["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
