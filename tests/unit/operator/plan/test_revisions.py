"""Revisions: what names them, what they keep, and that they are read back as they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.revisions import (
    ELSEWHERE,
    Failure,
    Revision,
    config_map,
    is_readable,
    new_revision,
    newest_of_spec,
    revision_data,
    spec_digest,
    stored_revisions,
    with_present,
)
from hpi_operator.plan.runtime_choice import RuntimeRecord
from support.kinds import manifest as sample
from support.observed import NOW, a_digest, a_pipeline

RECORD = RuntimeRecord("hpi-cpu-1.0.0", f"registry.example/hpi-cpu@{a_digest('a')}", "amd64")
BASE: Manifest = {"namespace": "team-a", "labels": {"hpi.paddlex.io/pipeline": "ocr"}}


def revision(pipeline: HPIPipeline | None = None, number: int = 1, **runtimes: RuntimeRecord) -> Revision:
    """Return a new revision."""
    return new_revision(pipeline or a_pipeline(), None, runtimes or {"cpu": RECORD}, number, NOW)


@pytest.mark.parametrize(
    "spec",
    [
        {"serving": {"timeouts": {"requestSeconds": 30}}},
        {"podTemplate": {"annotations": {"example.com/restart": "1"}}},
        {"build": {"timeoutSeconds": 100}},
        {"inference": {"hpiConfig": {"backend": "openvino"}}},
        {"inference": {"hpiConfig": {"backendConfig": {}}}},
        {"runtime": {"name": "x"}},
        {"cache": {"sizeBytes": 2**30}},
        {"placement": {"accelerators": [{"class": "NVIDIA"}]}},
        {"pipeline": "layout_parsing"},
    ],
)
def test_what_pods_are_made_of_names_a_revision(spec: dict[str, Any]) -> None:
    assert revision(a_pipeline(**spec)).name != revision().name


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 7},
        {"rollout": {"paused": True}},
        {"availability": {"maxUnavailable": 3}},
        {"route": {"parentRefs": [{"name": "g"}]}},
        {"placement": {"policy": "Spill"}},
        # Defaults that are written out.
        {"build": {"policy": "OnDemand"}},
        {"placement": {"accelerators": [{"class": "CPU", "requirements": {}}]}},
        {"modules": []},
        {"serving": {}},
    ],
)
def test_what_changes_no_pod_names_none(spec: dict[str, Any]) -> None:
    assert revision(a_pipeline(**spec)).name == revision().name


def test_another_image_is_another_revision() -> None:
    other = RuntimeRecord(RECORD.name, f"registry.example/hpi-cpu@{a_digest('b')}", "amd64")

    assert revision(cpu=other).name != revision().name


def test_a_yaml_from_a_config_map_counts_and_what_is_empty_in_it_too() -> None:
    pipeline = a_pipeline(pipeline=..., config={"configMapKeyRef": {"name": "c", "key": "k"}})

    names = {
        new_revision(pipeline, config, {}, 1, NOW).name
        for config in ({"pipeline_name": "OCR"}, {"pipeline_name": "OCR", "x": {}}, {"pipeline_name": "OCR", "x": []})
    }

    assert len(names) == 3


def test_the_name_of_a_revision_is_what_it_always_was() -> None:
    """Another name would replace every pod of every cluster at the next upgrade of the operator."""
    full = HPIPipeline.model_validate(sample("HPIPipeline", "full"))

    assert (revision().name, spec_digest(full)[:20]) == ("0799c3e3b1", "sha256:527d1eb200db8")


@pytest.mark.parametrize("case", ["full", "mapped", "minimal", "module", "named"])
def test_a_revision_is_read_back_as_it_was_written(case: str) -> None:
    pipeline = HPIPipeline.model_validate(sample("HPIPipeline", case))
    made = new_revision(pipeline, None, {"nvidia": RECORD}, 3, NOW)
    written = config_map(made, BASE)

    [read] = stored_revisions(pipeline, [written])

    assert (read.name, read.number, read.created_at, read.runtimes) == (made.name, 3, NOW, {"nvidia": RECORD})
    assert read.pipeline.spec == made.pipeline.spec
    assert read.spec == made.spec == spec_digest(pipeline)
    assert config_map(read, BASE) == written


def test_what_a_later_release_would_write_otherwise_is_stated_as_it_was_written() -> None:
    written = config_map(revision(), BASE)
    record = json.loads(written["data"]["revision.json"])
    record["spec"]["serving"]["queue"].pop("length")
    old = {**written, "data": {**written["data"], "revision.json": json.dumps(record)}}

    [read] = stored_revisions(a_pipeline(), [old])

    assert config_map(read, BASE)["data"] == old["data"]


def test_a_pod_reads_a_manifest_that_its_program_takes() -> None:
    pipeline = HPIPipeline.model_validate(sample("HPIPipeline", "full"))
    text = revision_data(new_revision(pipeline, None, {}, 1, NOW))["pipeline.yaml"]

    read = read_pipeline(text, "pipeline.yaml")

    assert read.spec.serving == pipeline.spec.serving
    assert not set(yaml.safe_load(text)["spec"]) & {*ELSEWHERE, "placement", "podTemplate", "cache", "runtime"}


@pytest.mark.parametrize("superseded", [False, True])
def test_the_mark_of_a_failure_is_read_back(superseded: bool) -> None:
    failure = Failure("CrashLoopBackOff", "libnvinfer is missing", "p", "serve", 1, "2026-03-01T10:00:00Z")
    marked = Revision(**{**vars(revision()), "failure": failure, "superseded": superseded})

    [read] = stored_revisions(a_pipeline(), [config_map(marked, BASE)])

    assert (read.failure, read.superseded, read.given_up) == (failure, superseded, not superseded)


def test_a_mark_that_somebody_wrote_by_hand_counts() -> None:
    written = config_map(revision(), BASE)
    written["metadata"]["annotations"] = {"hpi.paddlex.io/failed": "I do not like it"}

    [read] = stored_revisions(a_pipeline(), [written])

    assert read.given_up
    assert read.failure is not None
    assert read.failure.message == "I do not like it"


def broken(**data: str | None) -> Manifest:
    """Return the ConfigMap of a revision with texts changed, or taken out."""
    written = config_map(revision(), BASE)
    changed = {key.replace("_", "."): text for key, text in data.items()}
    return {**written, "data": {key: text for key, text in {**written["data"], **changed}.items() if text is not None}}


@pytest.mark.parametrize(
    "spoiled",
    [
        broken(revision_json="{"),
        broken(revision_json="[]"),
        broken(revision_json='{"number": 1}'),
        broken(revision_json=None),
        broken(pipeline_yaml=None),
        broken(pipeline_yaml="spec: {}"),
        broken(revision_json=json.dumps({"number": 1, "createdAt": "x", "spec": {}, "manifest": ""})),
    ],
)
def test_what_cannot_be_read_cannot_be_gone_back_to(spoiled: Manifest) -> None:
    assert stored_revisions(a_pipeline(), [spoiled]) == ()
    assert not is_readable(a_pipeline(), spoiled)


def test_a_config_map_that_is_none_of_a_revision_is_none() -> None:
    assert stored_revisions(a_pipeline(), [{"metadata": {"name": "x", "labels": {}}, "data": {}}]) == ()


def test_the_newest_of_a_spec_is_found() -> None:
    first, second = revision(number=1), revision(number=2, cpu=RuntimeRecord("other", "image", None))
    stored = stored_revisions(a_pipeline(), [config_map(one, BASE) for one in (first, second)])

    found = newest_of_spec(stored, spec_digest(a_pipeline(replicas=9)))

    assert found is not None
    assert found.number == 2
    assert newest_of_spec(stored, spec_digest(a_pipeline(pipeline="x"))) is None


def test_with_the_present_everything_that_changes_no_pod_is_as_it_is_now() -> None:
    old = revision(a_pipeline(replicas=1, serving={"timeouts": {"requestSeconds": 1}}))
    now = a_pipeline(replicas=9, rollout={"paused": True}, placement={"policy": "Spill"})

    spec = with_present(old, now).spec

    assert (spec.replicas, spec.rollout.paused, spec.placement.policy) == (9, True, "Spill")
    assert spec.serving.timeouts.request_seconds == 1


@given(st.integers(1, 1000), st.integers(1, 3600))
def test_a_name_depends_on_the_spec_alone(number: int, seconds: int) -> None:
    pipeline = a_pipeline(serving={"timeouts": {"requestSeconds": seconds}})

    assert revision(pipeline, number).name == revision(pipeline).name
