"""Values that nothing would honour, or that name no image, are refused in words that say which."""

from __future__ import annotations

import pytest

from support.chart import Helm
from support.control_plane.binaries import Binaries

DIGEST = f"sha256:{'a' * 64}"
ALLOWED = (
    "namespace=a",
    f"namespace={'a' * 63}",
    "podSecurity=privileged",
    "operator.logLevel=debug",
    f"operator.image=registry.example:5000/team/o@{DIGEST}",
    f"runtimes.hpi-cpu.images.arm64=registry.example/c@{DIGEST}",
    "runtimes.hpi-cpu.enabled=false",
    "runtimes.own.enabled=false,runtimes.own.spec.variant=own,runtimes.own.spec.version=1.0,"
    "runtimes.own.spec.accelerator=CPU,runtimes.own.spec.backends={openvino},runtimes.own.spec.python=3.12",
    "agent.tolerations[0].operator=Exists",
    "agent.resources.limits.memory=1.5Gi",
    "agent.env[0].name=https_proxy,agent.env[0].value=http://proxy.example:3128",
    "agent.env[0].name=HOME_OF_WHEELS,agent.env[0].value=",
    ",".join(f"agent.env[{place}].name=V{place},agent.env[{place}].value=x" for place in range(32)),
    "cache.hostPath=/data",
    "nodePool.spec.cache.quotaBytes=1048576",
    "nodePool.spec.upgrade.maxUnavailable=25%",
    "nodePool.spec.upgrade.maxUnavailable=2",
    "nodePool.enabled=false",
    "monitoring.labels.release=prometheus",
)

REFUSED = (
    # A word that nothing reads.
    ("replicas=3", "additional properties 'replicas' not allowed"),
    ("operator.replicas=3", "at '/operator': additional properties 'replicas' not allowed"),
    ("agent.privileged=true", "at '/agent': additional properties 'privileged' not allowed"),
    ("runtimes.hpi-cpu.tag=1", "at '/runtimes/hpi-cpu': additional properties 'tag' not allowed"),
    ("runtimes.hpi-cpu.spec.images=x", "additional properties 'images' not allowed"),
    ("runtimes.hpi-cpu.spec.pyhton=3", "at '/runtimes/hpi-cpu/spec': additional properties 'pyhton' not allowed"),
    ("nodePool.spec.cache.hostPath=/x", "at '/nodePool/spec/cache': additional properties 'hostPath' not allowed"),
    # Names.
    ("namespace=A", "at '/namespace': 'A' does not match pattern"),
    ("namespace=", "at '/namespace': '' does not match pattern"),
    (f"namespace={'a' * 64}", "at '/namespace'"),
    ("podSecurity=baseline", "at '/podSecurity': value must be one of 'restricted', 'privileged'"),
    ("agentNamespace=a.b", "at '/agentNamespace': 'a.b' does not match pattern"),
    ("runtimes.HPI.spec.variant=x", "invalid propertyName 'HPI'"),
    ("namespace=hpi-agents", 'namespace and agentNamespace are both "hpi-agents"'),
    # Images, by digest alone.
    ("operator.image=registry.example/o:1", "at '/operator/image': 'registry.example/o:1' does not match pattern"),
    (f"agent.image=registry.example/a@sha256:{'a' * 63}", "at '/agent/image'"),
    (f"agent.image=registry.example/a@sha256:{'A' * 64}", "at '/agent/image'"),
    ("runtimes.hpi-cpu.images.amd64=hpi-cpu:latest", "at '/runtimes/hpi-cpu/images/amd64'"),
    (f"runtimes.hpi-cpu.images.riscv64=c@{DIGEST}", "additional properties 'riscv64' not allowed"),
    ("runtimes.hpi-cpu.lockDigest=abc", "at '/runtimes/hpi-cpu/lockDigest': 'abc' does not match pattern"),
    # What is missing.
    ("operator.image=", "operator.image is missing: name the operator's image by digest"),
    ("agent.image=", "agent.image is missing: name the node agents' image by digest"),
    ("runtimes.hpi-cpu.images.amd64=", "runtimes.hpi-cpu.images names no image: give one by digest"),
    ("runtimes.hpi-cpu.lockDigest=", "runtimes.hpi-cpu.lockDigest is missing"),
    # What a field cannot be.
    ("operator.logLevel=trace", "at '/operator/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ("operator.resources.limits.memory=1GB", "at '/operator/resources/limits/memory'"),
    ("agent.tolerations[0].operator=exists", "at '/agent/tolerations/0/operator'"),
    ("cache.hostPath=data", "at '/cache/hostPath': 'data' does not match pattern"),
    ("cache.hostPath=/data/../etc", "at '/cache/hostPath'"),
    # The agents' user becomes the owner of the folder.
    ("cache.hostPath=/", "at '/cache/hostPath': '/' does not match pattern"),
    ("crds.upgrade=maybe", "at '/crds/upgrade': got string, want boolean"),
    ("nodePool.spec.cache.quotaBytes=1", "at '/nodePool/spec/cache/quotaBytes': minimum: got 1, want"),
    ("nodePool.spec.cache.sharing=Everybody", "at '/nodePool/spec/cache/sharing': value must be one of"),
    ("runtimes.hpi-cpu.spec.accelerator=TPU", "at '/runtimes/hpi-cpu/spec/accelerator': value must be one of"),
)

KEY_OF_S = "valueFrom.secretKeyRef.name=s,valueFrom.secretKeyRef.key"
VARIABLES_REFUSED = (
    # What says how the agent itself runs.
    ("name=HOST_IP,value=x", "at '/agent/env/0/name': 'not' failed"),
    ("name=HOME,value=x", "at '/agent/env/0/name': 'not' failed"),
    ("name=HPI_PLUGINS,value=x", "at '/agent/env/0/name': 'not' failed"),
    ("name=LD_PRELOAD,value=x", "at '/agent/env/0/name': 'not' failed"),
    ("name=PYTHONPATH,value=x", "at '/agent/env/0/name': 'not' failed"),
    # What is no name.
    ("value=x,name=", "at '/agent/env/0/name': '' does not match pattern"),
    ("name=1A,value=x", "at '/agent/env/0/name': '1A' does not match pattern"),
    ("name=PIP-INDEX,value=x", "at '/agent/env/0/name': 'PIP-INDEX' does not match pattern"),
    ("value=x", "at '/agent/env/0': missing property 'name'"),
    # One value, and where it lies.
    ("name=A", "at '/agent/env/0': minProperties: got 1, want 2"),
    (f"name=A,value=x,{KEY_OF_S}=k", "at '/agent/env/0': maxProperties: got 3, want 2"),
    ("name=A,value=1", "at '/agent/env/0/value': got number, want string"),
    ("name=A,value=x,secret=true", "at '/agent/env/0': additional properties 'secret' not allowed"),
    ("name=A,valueFrom.secretKeyRef.name=s", "at '/agent/env/0/valueFrom/secretKeyRef': missing property 'key'"),
    ("name=A,valueFrom.configMapKeyRef.key=k", "at '/agent/env/0/valueFrom/configMapKeyRef': missing property 'name'"),
    (f"name=A,{KEY_OF_S}=a/b", "at '/agent/env/0/valueFrom/secretKeyRef/key': 'a/b' does not match pattern"),
    (
        f"name=A,{KEY_OF_S}=k,valueFrom.secretKeyRef.optional=true",
        "at '/agent/env/0/valueFrom/secretKeyRef': additional properties 'optional' not allowed",
    ),
    (
        f"name=A,{KEY_OF_S}=k,valueFrom.configMapKeyRef.name=c,valueFrom.configMapKeyRef.key=k",
        "at '/agent/env/0/valueFrom': maxProperties: got 2, want 1",
    ),
    (
        "name=A,valueFrom.fieldRef.fieldPath=spec.nodeName",
        "at '/agent/env/0/valueFrom': additional properties 'fieldRef' not allowed",
    ),
)


@pytest.fixture(scope="module")
def helm(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(binaries["helm"], tmp_path_factory.mktemp("helm"))


@pytest.mark.parametrize("value", ALLOWED)
def test_a_value_that_can_be_honoured_is_taken(helm: Helm, value: str) -> None:
    answer = helm.render(value)

    assert answer.exit_code == 0, answer.error


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[value for value, _ in REFUSED])
def test_a_value_that_cannot_be_honoured_is_refused_by_name(helm: Helm, value: str, message: str) -> None:
    answer = helm.render(value)

    assert answer.exit_code != 0
    assert message in answer.error


@pytest.mark.parametrize(("fields", "message"), VARIABLES_REFUSED, ids=[fields for fields, _ in VARIABLES_REFUSED])
def test_a_variable_that_agents_cannot_have_is_refused_by_name(helm: Helm, fields: str, message: str) -> None:
    answer = helm.render(*(f"agent.env[0].{field}" for field in fields.split(",")))

    assert answer.exit_code != 0
    assert message in answer.error


def test_more_variables_than_fit_are_refused(helm: Helm) -> None:
    answer = helm.render(*(f"agent.env[{place}].{field}" for place in range(33) for field in ("name=V", "value=x")))

    assert answer.exit_code != 0
    assert "at '/agent/env': maxItems: got 33, want 32" in answer.error


@pytest.mark.parametrize(("version", "is_taken"), [("1.29.9", False), ("1.30.0", True), ("1.34.4", True)])
def test_clusters_without_stable_admission_policies_are_refused(helm: Helm, version: str, is_taken: bool) -> None:
    answer = helm.render(kubernetes=version)

    assert (answer.exit_code == 0) is is_taken
    assert is_taken or "chart requires kubeVersion: >=1.30.0-0" in answer.error
