"""HPIEngines and Jobs that are made ahead of a revision."""

from __future__ import annotations

from hpi_core.api.v1alpha1.engine import engine_name
from support.nodes import a_node
from support.observed import GPU_RUNTIME, a_digest, on
from support.small_prebuilds import DET, PREBUILD, a_cluster, a_model, jobs


def test_each_model_whose_digest_is_known_has_an_engine_for_each_class_of_hardware() -> None:
    nodes = [a_node("l4", gpus=1, product="NVIDIA L4"), a_node("t4", gpus=1, product="Tesla T4")]
    cluster = a_cluster(*nodes, placement=on("NVIDIA"))
    cluster.make_pass()

    found = sorted(
        (one.spec.model_name, one.spec.hardware_class.accelerator.product)
        for one in cluster.engines
        if one.spec.hardware_class.accelerator is not None and one.spec.hardware_class.accelerator.product is not None
    )

    assert found == [("det", "NVIDIA L4"), ("det", "Tesla T4"), ("rec", "NVIDIA L4"), ("rec", "Tesla T4")]
    assert all(one.metadata.name == engine_name(one.spec) for one in cluster.engines)
    assert len(jobs(cluster)) == 2


def test_an_engine_is_specified_by_everything_that_shapes_the_choice() -> None:
    modules = [
        a_model(DET, "det", a_digest("1"), format="ONNX") | {"inference": {"hpiConfig": {"backend": "tensorrt"}}}
    ]
    cluster = a_cluster(
        a_node("g", gpus=1, product="NVIDIA L4", driver="550.54.15", toolkit="12.4", cores=32),
        modules=modules,
        placement=on("NVIDIA"),
        build={**PREBUILD, "driverMatch": "Major", "mode": "Throughput", "deviceMemoryBytes": 2**30},
        inference={"hpiConfig": {"autoPaddle2onnx": False}},
        podTemplate={"resources": {"limits": {"cpu": "3500m", "memory": "8Gi"}}},
    )
    cluster.make_pass()

    [engine] = cluster.engines

    assert engine.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "modelName": "det",
        "modelDigest": a_digest("1"),
        "modelFormat": "ONNX",
        "request": {"auto_paddle2onnx": False, "backend": "tensorrt"},
        "fallback": "Allowed",
        "runtime": {"name": GPU_RUNTIME, "lockDigest": a_digest("a")},
        "hardwareClass": {
            "formatVersion": 1,
            "device": "gpu",
            "architecture": "x86_64",
            "isaLevel": "x86-64-v4",
            "isaFlags": ["avx512_vnni", "avx512f"],
            "threads": 3,
            "numaNodes": 2,
            "memoryGibibytes": 8,
            "accelerator": {
                "vendor": "NVIDIA",
                "product": "NVIDIA L4",
                "computeCapability": "8.9",
                "memoryGibibytes": 22,
                "driver": "550",
                "toolkit": "12.4",
            },
        },
        "driverMatch": "Major",
        "mode": "Throughput",
        "accuracy": {"level": "Auto", "minimumSamples": 20},
        "shapes": [],
        "tenant": "team-a",
        "deviceMemoryBytes": 2**30,
    }


def test_a_build_owns_a_device_and_holds_no_more_rights_than_a_pod_that_serves() -> None:
    cluster = a_cluster(a_node("g", gpus=2), placement=on("NVIDIA", count=2), build={**PREBUILD, "timeoutSeconds": 100})
    cluster.make_pass()

    [job] = jobs(cluster)
    template = job["spec"]["template"]
    pod, [container] = template["spec"], template["spec"]["containers"]

    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (2, 600 + 2 * 100)
    assert container["args"] == ["build", "-f", "/etc/hpi/pipeline/pipeline.yaml", "-o", "json"]
    assert container["resources"] == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", False)
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    [term] = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["g"]}]}
    assert "hpi.paddlex.io/track" not in template["metadata"]["labels"]
    resolutions = template["metadata"]["annotations"]["hpi.paddlex.io/resolutions"]
    assert resolutions.count("e-") == 2
    assert {"name": "HPI_RESOLUTIONS", "value": resolutions} in container["env"]


def test_a_job_is_stated_once_and_never_changed() -> None:
    cluster = a_cluster()
    cluster.jobs_end = "never"
    cluster.make_pass()
    before = dict(cluster.named("Job", cluster.names("Job")[0]))

    cluster.nodes.append(a_node("n2"))
    cluster.wait(20)

    assert [one for one in cluster.plan().apply if one["kind"] == "Job"] == []
    assert dict(cluster.named("Job", cluster.names("Job")[0])) == before


def test_nodes_of_another_class_of_hardware_that_come_later_are_built_for() -> None:
    cluster = a_cluster(a_node("l4", gpus=2, product="NVIDIA L4"), placement=on("NVIDIA"))
    cluster.settle()
    pods = set(cluster.pods)

    cluster.nodes.append(a_node("t4", gpus=1, product="Tesla T4"))
    cluster.settle()

    assert len(jobs(cluster)) == 2
    assert set(cluster.pods) == pods
    assert cluster.condition("EnginesReady")[1] == "Prebuilt"


def test_engines_that_are_wanted_ahead_are_told_to_whoever_clears_engines_away() -> None:
    cluster = a_cluster()
    cluster.settle()

    assert cluster.plan().wanted_engines == {one.metadata.name for one in cluster.engines}


def test_with_spill_engines_are_built_for_every_class_and_with_first_for_the_first_alone() -> None:
    nodes = [a_node("c"), a_node("g", gpus=4)]
    spill = a_cluster(*nodes, placement=on("NVIDIA", "CPU", policy="Spill"))
    first = a_cluster(*nodes, placement=on("NVIDIA", "CPU"))

    spill.make_pass()
    first.make_pass()

    assert {one.spec.hardware_class.device for one in spill.engines} == {"cpu", "gpu"}
    assert {one.spec.hardware_class.device for one in first.engines} == {"gpu"}
