"""The chart in a real API server: installed in an older release, upgraded, rolled back, taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_core.api.v1alpha1.kinds import KINDS
from support.chart import CHART, INSTALLATION, NEW_FIELD, VALUES, Helm, found, key, older_chart
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import WHOLE
from support.eventually import eventually
from support.job_hands import JobHands
from support.kinds import manifest
from support.manifests import Document

pytestmark = pytest.mark.slow

PART_OF = ("-l", "app.kubernetes.io/part-of=hpi", "--all-namespaces")
RELEASED = (
    *("namespaces", "serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings"),
    *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    *("flowschemas", "prioritylevelconfigurations"),
    *("deployments", "daemonsets", "poddisruptionbudgets", "networkpolicies", "services", "jobs"),
)
OWN_NAMESPACE = ("--namespace", INSTALLATION.namespace)
CONFIGURED = ("hpiruntimes", "hpinodepools")


@dataclass
class Seen:
    """What is in the cluster after one step."""

    objects: set[tuple[str, str, str]] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    """Fields of `spec.cache` of HPINodePools that the API server serves."""
    pool: Document = field(default_factory=dict)
    configured: set[tuple[str, str, str]] = field(default_factory=set)
    pipelines: list[str] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)
    """Of the kinds themselves."""
    notes: str = ""
    ran: list[tuple[list[str], int, str]] = field(default_factory=list)


@dataclass
class Story:
    """What was seen after each step of a life, in the order of the steps."""

    installed: Seen
    upgraded: Seen
    rolled_back: Seen
    again: Seen
    uninstalled: Seen


def look(cluster: ControlPlane, notes: str = "", ran: Any = ()) -> Seen:
    """Return what is in the cluster now."""
    definitions = found(cluster, "crd", *(kind.crd_name for kind in KINDS))
    [pools] = [one for one in definitions if one["spec"]["names"]["kind"] == "HPINodePool"]
    part, _ = NEW_FIELD
    [version] = pools["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][part]
    [pool] = found(cluster, "hpinodepools", "default") or [{}]
    return Seen(
        objects={key(one) for one in found(cluster, ",".join(RELEASED), *PART_OF)},
        fields=set(schema["properties"]),
        pool=pool,
        configured={key(one) for one in found(cluster, ",".join(CONFIGURED), "--all-namespaces")},
        pipelines=[one["metadata"]["name"] for one in found(cluster, "hpipipelines", "-n", "default")],
        uids={one["metadata"]["name"]: one["metadata"]["uid"] for one in definitions},
        notes=notes,
        ran=list(ran),
    )


@pytest.fixture(scope="module")
def helm(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    """Helm beside a cluster of its own: the names of the chart's objects are the same in every release."""
    with ControlPlane(binaries, WHOLE, parent=tmp_path_factory.mktemp("chart")) as cluster:
        yield Helm(binaries["helm"], tmp_path_factory.mktemp("helm"), cluster)


@pytest.fixture(scope="module")
def story(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One life of a release, looked at after every step."""
    cluster = helm.cluster
    assert cluster is not None
    older = older_chart(tmp_path_factory.mktemp("older"))
    site = ("-f", str(VALUES))

    notes = helm.done("install", "hpi", str(older), *site)
    pipeline = manifest("HPIPipeline")
    assert cluster.kubectl("apply", "-n", "default", "-f", "-", stdin=yaml.safe_dump(pipeline)).exit_code == 0
    installed = look(cluster, notes)
    upgraded = upgrade(helm, cluster, *site, "--set", "nodePool.spec.cache.sharing=Cluster")
    helm.done("rollback", "hpi", "1")
    rolled_back = look(cluster)
    again = upgrade(helm, cluster, *site)
    helm.done("uninstall", "hpi")
    eventually(lambda: not look(cluster).objects)
    return Story(installed, upgraded, rolled_back, again, look(cluster))


@dataclass
class Running:
    """A release after the story, in the namespace that it makes for everything else as well."""

    cluster: ControlPlane
    before: Seen


@pytest.fixture(scope="module")
def running(helm: Helm, story: Story) -> Running:
    """What the story left, the runtime and the pool, is taken up again, by a release in another namespace."""
    assert story.uninstalled.configured
    assert helm.cluster is not None
    words = ("--create-namespace", "--take-ownership")
    notes = helm.done("install", "hpi", str(CHART), *OWN_NAMESPACE, *words, "-f", str(VALUES))
    return Running(helm.cluster, look(helm.cluster, notes))


def upgrade(helm: Helm, cluster: ControlPlane, *arguments: str) -> Seen:
    """Upgrade to the release of the checkout, with somebody to run the Job."""
    with JobHands(cluster, INSTALLATION.namespace) as hands:
        notes = helm.done("upgrade", "hpi", str(CHART), *arguments)
    return look(cluster, notes, hands.ended)


def test_one_command_makes_everything(story: Story) -> None:
    kinds = {kind for kind, _, _ in story.installed.objects}

    assert {"Deployment", "DaemonSet", "ValidatingAdmissionPolicy", "FlowSchema", "NetworkPolicy"} <= kinds
    assert story.installed.configured == {
        ("HPINodePool", "", "default"),
        ("HPIRuntime", "", "hpi-cpu-0.1.0-44444444"),
    }
    assert "Job" not in kinds


def test_the_notes_say_the_next_command(story: Story) -> None:
    assert "kubectl wait --for=condition=Usable hpiruntime --all" in story.installed.notes
    assert "kind: HPIPipeline" in story.installed.notes
    assert "is installed" in story.installed.notes
    assert "is upgraded" in story.upgraded.notes


def test_an_upgrade_brings_the_new_field_of_a_kind_and_a_value_for_it(story: Story) -> None:
    part, name = NEW_FIELD

    assert (name in story.installed.fields, name in story.upgraded.fields) == (False, True)
    assert story.upgraded.pool["spec"][part][name] == "Cluster"
    assert story.upgraded.uids == story.installed.uids
    assert story.upgraded.pipelines == story.installed.pipelines == ["ocr"]


def test_the_kinds_are_renewed_by_the_job_with_its_own_rights(story: Story) -> None:
    [(command, code, output)] = story.upgraded.ran

    assert (command, code) == (["hpi-operator", "kinds", "--apply"], 0), output
    assert output.count("is served") == len(KINDS)


def test_an_upgrade_leaves_nothing_of_the_job(story: Story) -> None:
    assert not {one for one in story.upgraded.objects if one[2] == "hpi-kinds"}


def test_an_upgrade_brings_new_objects_and_a_rollback_takes_them_away(story: Story) -> None:
    service = ("Service", "hpi-system", "hpi-operator")

    assert story.upgraded.objects - story.installed.objects == {service}
    assert story.rolled_back.objects == story.installed.objects
    assert story.again.objects == story.upgraded.objects


def test_a_rollback_leaves_the_kinds_and_what_objects_hold(story: Story) -> None:
    part, name = NEW_FIELD

    assert name in story.rolled_back.fields
    assert story.rolled_back.pipelines == ["ocr"]
    assert story.rolled_back.uids == story.upgraded.uids
    assert name in story.rolled_back.pool["spec"][part]


def test_uninstalling_leaves_kinds_with_their_objects_and_nothing_else(story: Story) -> None:
    assert story.uninstalled.objects == set()
    assert story.uninstalled.uids == story.installed.uids
    assert story.uninstalled.pipelines == ["ocr"]
    assert story.uninstalled.configured == story.again.configured


def test_a_release_in_a_namespace_that_was_there_says_what_it_lacks(running: Running) -> None:
    label = "kubectl label namespace hpi-system pod-security.kubernetes.io/enforce=restricted"

    assert label in running.before.notes
    assert ("Deployment", "hpi-system", "hpi-operator") in running.before.objects
    assert ("Namespace", "", "hpi-system") not in running.before.objects


def test_a_second_release_is_refused(helm: Helm, running: Running) -> None:
    answer = helm.run("install", "another", str(CHART), "-f", str(VALUES))

    assert answer.exit_code != 0
    assert "cannot be imported into the current release" in answer.error
    assert look(running.cluster).objects >= running.before.objects


def test_a_job_that_fails_stops_the_upgrade_before_anything_changes(
    helm: Helm, running: Running, tmp_path: Path
) -> None:
    broken = older_chart(tmp_path)
    template = broken / "templates" / "kinds-job.yaml"
    template.write_text(template.read_text(encoding="utf-8").replace("kinds, --apply", "kinds, --aply"), "utf-8")

    with JobHands(running.cluster, INSTALLATION.namespace) as hands:
        answer = helm.run("upgrade", "hpi", str(broken), *OWN_NAMESPACE, "-f", str(VALUES), "--timeout", "60s")

    after = look(running.cluster)
    assert answer.exit_code != 0
    assert "pre-upgrade hooks failed" in answer.error
    assert {code for _, code, _ in hands.ended} == {2}
    assert ("Job", "hpi-system", "hpi-kinds") in after.objects
    assert {one for one in after.objects if one[2] != "hpi-kinds"} == running.before.objects
    assert not {one for one in after.objects if one[0] in ("ClusterRole", "ServiceAccount") and one[2] == "hpi-kinds"}
