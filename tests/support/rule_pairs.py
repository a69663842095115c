"""For each rule of the kinds, a manifest that keeps it and one that breaks it; both sides must agree on both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from support.pipeline_rule_pairs import PIPELINE_PAIRS
from support.rule_pair import LABELS, Changes, Pair, pair_of, pair_of_keys

OTHER_DIGEST: Final = f"sha256:{'1' * 64}"
NVIDIA: Final = {"vendor": "NVIDIA", "product": "NVIDIA L4"}


def _workloads(field: str, one: Callable[[int, int], Any], *counts: int) -> Changes:
    """Return one workload for each number of engines, or of models, each made of the numbers of workload and item."""
    rows = [
        {
            "namespace": "a",
            "pipeline": f"p{number}",
            "revision": "r",
            field: [one(number, item) for item in range(count)],
        }
        for number, count in enumerate(counts)
    ]
    return {"workloads": rows}


def _engine(number: int, item: int) -> str:
    return f"e-{number}-{item}"


def _model(_: int, item: int) -> Changes:
    return {"name": f"m{item}", "backend": "openvino", "precision": "float32", "state": "Measured", "pods": 1}


_ENGINE: Final = [
    Pair(
        "HPIEngine",
        "",
        "metadata.name must be 'e-' and the first 40 hexadecimal digits of the digest of the spec",
        keeps={"metadata.name": f"e-{'0' * 40}"},
        breaks={"metadata.name": f"e-{'0' * 41}"},
    ),
    Pair(
        "HPIEngine",
        "spec",
        "spec must not change: another resolution is another HPIEngine",
        before={},
        keeps={"metadata.labels": {"a": "b"}},
        breaks={"spec.mode": "Throughput"},
    ),
    pair_of(
        "HPIEngine",
        "spec.hardwareClass",
        "accelerator must be set when device is gpu or npu, and only then",
        {"formatVersion": 1, "device": "gpu", "threads": 1, "accelerator": NVIDIA},
        {"formatVersion": 1, "device": "cpu", "threads": 1, "accelerator": NVIDIA},
    ),
]

_RUNTIME: Final = [
    Pair(
        "HPIRuntime",
        "spec",
        "images must not name an architecture that architectures lacks",
        keeps={"spec.architectures": ["arm64", "amd64"]},
        breaks={"spec.architectures": ["arm64"]},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "cuda must be set for accelerator NVIDIA, and only then",
        keeps={"spec.accelerator": "NVIDIA", "spec.cuda": {"version": "12.6"}},
        breaks={"spec.accelerator": "NVIDIA"},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "cann must be set for accelerator Ascend, and only then",
        keeps={"spec.accelerator": "Ascend", "spec.cann": {"version": "8.0.RC3"}},
        breaks={"spec.cann": {"version": "8.0.RC3"}},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "computeCapabilities are for accelerator NVIDIA alone",
        keeps={"spec.computeCapabilities": []},
        breaks={"spec.computeCapabilities": ["8.0"]},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "chips are for accelerator Ascend alone",
        keeps={"spec.chips": []},
        breaks={"spec.chips": ["Ascend310P3"]},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "driver must not be set for accelerator CPU",
        keeps={"spec.accelerator": "Ascend", "spec.cann": {"version": "8.0.RC3"}, "spec.driver": {}},
        breaks={"spec.driver": {}},
    ),
    Pair(
        "HPIRuntime",
        "spec",
        "variant, version, lockDigest and accelerator must not change: another version is another HPIRuntime",
        before={"metadata.name": "hpi-cpu-1.4.0-a"},
        keeps={"metadata.name": "hpi-cpu-1.4.0-a", "spec.state": "Withdrawn"},
        breaks={"metadata.name": "hpi-cpu-1.4.0-a", "spec.lockDigest": OTHER_DIGEST},
    ),
]

_POOL_AND_NODE: Final = [
    pair_of_keys("HPINodePool", "spec.nodeSelector.matchLabels", LABELS, {"a/b": "c"}, {"a/b/c": "d"}),
    Pair(
        "HPINodePool",
        "spec.nodeSelector.matchExpressions[]",
        "values must be set for operators In and NotIn, and only then",
        keeps={"spec.nodeSelector.matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        breaks={"spec.nodeSelector.matchExpressions": [{"key": "a", "operator": "NotIn"}]},
    ),
    pair_of(
        "HPINodePool",
        "spec.cache",
        "lowWatermarkPercent must be smaller than highWatermarkPercent",
        {"lowWatermarkPercent": 89, "highWatermarkPercent": 90},
        {"lowWatermarkPercent": 90},
    ),
    Pair(
        "HPINode",
        "spec",
        "nodeUid must not change: another node is another HPINode",
        before={"metadata.name": "renewed"},
        keeps={"metadata.name": "renewed", "spec.pool": "a"},
        breaks={"metadata.name": "renewed", "spec.nodeUid": "7f8a1c22-3b1d-4a52-8e11-2c9d4f6b7a80"},
    ),
    pair_of(
        "HPINode",
        "status",
        "workloads must not name more than 128 engines together",
        _workloads("engines", _engine, 32, 32, 32, 32),
        _workloads("engines", _engine, 32, 32, 32, 32, 1),
    ),
    pair_of(
        "HPINode",
        "status",
        "workloads must not name more than 64 models together",
        _workloads("models", _model, 16, 16, 16, 16),
        _workloads("models", _model, 16, 16, 16, 16, 1),
    ),
]

PAIRS: Final = [*PIPELINE_PAIRS, *_ENGINE, *_RUNTIME, *_POOL_AND_NODE]
