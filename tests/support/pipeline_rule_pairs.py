"""For each rule of an HPIPipeline, a manifest that keeps it and one that breaks it."""

from __future__ import annotations

from typing import Final

from hpi_core.api.v1alpha1.pipeline import NAME_RULE
from support.rule_pair import LABELS, Changes, Pair, pair_of, pair_of_keys

RESOURCES: Final = (
    "each key must be 'cpu', 'memory', 'ephemeral-storage' or like 'nvidia.com/gpu', and have at most 317 characters"
)
ENDPOINT: Final = "endpoint may be set for a source of s3://, hf:// or modelscope:// alone"
CREDENTIALS: Final = "credentialsSecretRef may be set for a source that is fetched alone"
MODEL: Final = {"name": "det", "source": "hf://owner/name"}
ACCELERATORS: Final = "spec.placement.accelerators"
GATEWAYS: Final = {"auth": {"type": "ClientCertificate"}, "tls": {"secretRef": {"name": "a"}}}
ONE_OF_THREE: Final = "exactly one of pipeline, config and module must be set"


def _of_model(place: str, base: Changes) -> list[Pair]:
    """Return the pairs of a model source, which stands in two places."""
    at = place.replace("[]", "[0]")
    return [
        Pair(
            "HPIPipeline",
            place,
            ENDPOINT,
            keeps={**base, at: {**MODEL, "endpoint": "https://mirror.example"}},
            breaks={
                **base,
                at: {"name": "det", "source": "oci://registry.example/m:1", "endpoint": "https://a.example"},
            },
        ),
        Pair(
            "HPIPipeline",
            place,
            CREDENTIALS,
            keeps={**base, at: {**MODEL, "credentialsSecretRef": {"name": "a"}}},
            breaks={**base, at: {"name": "det", "source": "file:///a", "credentialsSecretRef": {"name": "a"}}},
        ),
    ]


def _of_accelerators(message: str, keeps: Changes, breaks: Changes) -> Pair:
    return Pair(
        "HPIPipeline", f"{ACCELERATORS}[]", message, keeps={ACCELERATORS: [keeps]}, breaks={ACCELERATORS: [breaks]}
    )


PIPELINE_PAIRS: Final = [
    Pair("HPIPipeline", "", NAME_RULE.message, {"metadata.name": "a-1"}, {"metadata.name": "1-a"}),
    pair_of(
        "HPIPipeline", "spec", ONE_OF_THREE, {"config": {"inline": {}}}, {"pipeline": "OCR", "config": {"inline": {}}}
    ),
    pair_of(
        "HPIPipeline",
        "spec",
        "modules must not be set when module is set: the model's settings stand in module.model",
        {"module": {"name": "a", "model": MODEL}, "modules": []},
        {"module": {"name": "a", "model": MODEL}, "modules": [{"path": "SubModules.A"}]},
    ),
    pair_of(
        "HPIPipeline",
        "spec",
        "replicas must not be set when autoscaling is set",
        {"pipeline": "OCR", "autoscaling": {"maxReplicas": 2}},
        {"pipeline": "OCR", "autoscaling": {"maxReplicas": 2}, "replicas": 1},
    ),
    Pair(
        "HPIPipeline",
        "spec",
        "a cache with accessMode ReadWriteOnce allows one replica and no autoscaling",
        keeps={
            "spec.cache": {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30, "accessMode": "ReadWriteOnce"},
            "spec.replicas": 1,
        },
        breaks={
            "spec.cache": {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30, "accessMode": "ReadWriteOnce"},
            "spec.replicas": 2,
        },
    ),
    pair_of(
        "HPIPipeline",
        "spec.config",
        "exactly one of inline and configMapKeyRef must be set",
        {"configMapKeyRef": {"name": "a", "key": "b"}},
        {"inline": {}, "configMapKeyRef": {"name": "a", "key": "b"}},
        case="mapped",
    ),
    *_of_model("spec.modules[].model", {"spec.modules": [{"path": "SubModules.A"}]}),
    *_of_model("spec.module.model", {"spec": {"module": {"name": "a", "model": MODEL}}}),
    _of_accelerators(
        "class CPU has no device: resourceName and count must not be set",
        {"class": "NVIDIA", "resourceName": "nvidia.com/gpu", "count": 1},
        {"class": "CPU", "count": 1},
    ),
    _of_accelerators(
        "minComputeCapability and maxComputeCapability are for class NVIDIA alone",
        {"class": "NVIDIA", "requirements": {"minComputeCapability": "8.0"}},
        {"class": "Ascend", "requirements": {"maxComputeCapability": "8.0"}},
    ),
    _of_accelerators(
        "chips are for class Ascend alone",
        {"class": "Ascend", "requirements": {"chips": ["Ascend310P3"]}},
        {"class": "NVIDIA", "requirements": {"chips": ["Ascend310P3"]}},
    ),
    Pair(
        "HPIPipeline",
        "spec.placement.accelerators[].requirements.nodeSelector",
        LABELS,
        keeps={ACCELERATORS: [{"class": "CPU", "requirements": {"nodeSelector": {"example.com/pool": "a"}}}]},
        breaks={ACCELERATORS: [{"class": "CPU", "requirements": {"nodeSelector": {"example.com/": "a"}}}]},
    ),
    pair_of(
        "HPIPipeline",
        "spec.runtime",
        "exactly one of name and variant must be set",
        {"name": "hpi-cpu-1.4.0"},
        {"name": "hpi-cpu-1.4.0", "variant": "hpi-cpu"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.runtime",
        "versionConstraint needs variant",
        {"variant": "hpi-cpu", "versionConstraint": "<2"},
        {"name": "hpi-cpu-1.4.0", "versionConstraint": "<2"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.autoscaling",
        "minReplicas must not be larger than maxReplicas",
        {"minReplicas": 2, "maxReplicas": 2},
        {"minReplicas": 3, "maxReplicas": 2},
    ),
    pair_of(
        "HPIPipeline",
        "spec.cache",
        "claimName, storageClassName and accessMode are for medium PersistentVolumeClaim alone",
        {"medium": "PersistentVolumeClaim", "claimName": "a"},
        {"medium": "Ephemeral", "claimName": "a"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.cache",
        "storageClassName and accessMode must not be set when claimName is set: the claim is there already",
        {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30, "storageClassName": "a"},
        {"medium": "PersistentVolumeClaim", "claimName": "a", "storageClassName": "a"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.cache",
        "medium PersistentVolumeClaim needs claimName or sizeBytes",
        {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30},
        {"medium": "PersistentVolumeClaim"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.rollout",
        "steps are for strategy Canary alone",
        {"strategy": "Canary", "steps": [{"weightPercent": 5}]},
        {"strategy": "Rolling", "steps": [{"weightPercent": 5}]},
    ),
    pair_of(
        "HPIPipeline",
        "spec.rollout",
        "strategy Canary needs steps",
        {"strategy": "Canary", "steps": [{"weightPercent": 5}]},
        {"strategy": "Canary"},
    ),
    pair_of(
        "HPIPipeline",
        "spec.rollout",
        "the weights of steps must grow",
        {"strategy": "Canary", "steps": [{"weightPercent": 5}, {"weightPercent": 6}]},
        {"strategy": "Canary", "steps": [{"weightPercent": 5}, {"weightPercent": 5}]},
    ),
    pair_of(
        "HPIPipeline",
        "spec.serving",
        "auth of type ClientCertificate needs tls.clientCaSecretRef",
        {**GATEWAYS, "tls": {"secretRef": {"name": "a"}, "clientCaSecretRef": {"name": "b"}}},
        GATEWAYS,
    ),
    pair_of(
        "HPIPipeline",
        "spec.serving.auth",
        "tokensSecretRef must be set for type BearerToken, and only then",
        {"type": "BearerToken", "tokensSecretRef": {"name": "a"}},
        {"type": "None", "tokensSecretRef": {"name": "a"}},
    ),
    pair_of_keys("HPIPipeline", "spec.podTemplate.labels", LABELS, {"a" * 63: "b"}, {"a" * 64: "b"}),
    pair_of_keys("HPIPipeline", "spec.podTemplate.annotations", LABELS, {"a.b/C_d": ""}, {"A/b": ""}),
    pair_of_keys("HPIPipeline", "spec.podTemplate.nodeSelector", LABELS, {"a": ""}, {"-a": ""}),
    pair_of_keys("HPIPipeline", "spec.podTemplate.resources.requests", RESOURCES, {"cpu": "1"}, {"gpu": "1"}),
    pair_of_keys("HPIPipeline", "spec.podTemplate.resources.limits", RESOURCES, {"a.b/c": "1"}, {"CPU": "1"}),
    Pair(
        "HPIPipeline",
        "spec.podTemplate.tolerations[]",
        "a toleration without key needs operator Exists",
        keeps={"spec.podTemplate.tolerations": [{"operator": "Exists"}]},
        breaks={"spec.podTemplate.tolerations": [{"value": "a"}]},
    ),
    Pair(
        "HPIPipeline",
        "spec.podTemplate.tolerations[]",
        "a toleration with operator Exists has no value",
        keeps={"spec.podTemplate.tolerations": [{"key": "a", "value": "b"}]},
        breaks={"spec.podTemplate.tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
    ),
]
