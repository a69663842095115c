"""Engines that are built before a revision needs them: objects, the wait, and what is given up."""

from __future__ import annotations

import pytest

from hpi_core.api.v1alpha1.engine import HPIEngine
from support.small_cluster import with_engines_decided
from support.small_prebuilds import KNOWN, PREBUILD, a_cluster, jobs


def test_a_revision_waits_for_its_engines_and_then_begins() -> None:
    cluster = a_cluster()
    cluster.jobs_end = "never"

    cluster.wait(300)
    waiting = (cluster.replicas(), cluster.condition("EnginesReady"), cluster.condition("Progressing"))
    cluster.jobs_end = "complete"
    cluster.settle()

    assert waiting[0] == {}
    assert waiting[1][:2] == ("False", "Prebuilding")
    assert "Job ocr-build-" in waiting[1][2]
    assert waiting[2][:2] == ("True", "Progressing")
    assert cluster.ready() == 2
    assert cluster.condition("EnginesReady") == ("True", "Prebuilt", "for 1 class of hardware")


def test_the_old_revision_serves_on_while_engines_of_the_new_one_are_built() -> None:
    cluster = a_cluster()
    cluster.settle()
    old = cluster.status.revision
    cluster.watch()

    cluster.jobs_end = "never"
    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.wait(60)
    kept = (cluster.ready(revision=old), len(cluster.pods))
    cluster.jobs_end = "complete"
    cluster.settle()

    assert kept == (2, 2)
    assert cluster.status.revision == cluster.status.wanted_revision != old
    assert cluster.fewest_ready == 2


def test_what_was_decided_before_is_not_built_again() -> None:
    cluster = a_cluster()
    cluster.make_pass()
    cluster.engines = with_engines_decided(cluster.engines)
    for key in [key for key in cluster.objects if key.kind == "Job"]:
        del cluster.objects[key]

    cluster.settle()

    assert jobs(cluster) == []
    assert cluster.ready() == 2
    assert cluster.condition("EnginesReady")[:2] == ("True", "Prebuilt")
    assert (cluster.status.engines.wanted, cluster.status.engines.ready) == (2, 2)


def test_a_model_without_a_digest_is_built_and_the_condition_says_that_no_engine_tells_of_it() -> None:
    cluster = a_cluster(modules=[KNOWN[0]])

    cluster.settle()

    status, reason, message = cluster.condition("EnginesReady")
    assert (status, reason) == ("Unknown", "ModelDigestUnknown")
    assert "no digest is known of rec" in message
    assert [one.spec.model_name for one in cluster.engines] == ["det"]
    assert cluster.ready() == 2


def test_a_pipeline_of_the_registry_is_built_ahead_too() -> None:
    cluster = a_cluster(config=..., pipeline="OCR", modules=...)

    cluster.settle()

    assert len(jobs(cluster)) == 1
    assert cluster.condition("EnginesReady")[1] == "ModelDigestUnknown"
    assert "the models of pipeline OCR" in cluster.condition("EnginesReady")[2]
    assert cluster.ready() == 2


def test_a_build_that_fails_is_told_with_the_agents_word_and_the_revision_goes_on() -> None:
    cluster = a_cluster()
    cluster.make_pass()
    cluster.engines = tuple(with_failure(one, "libnvinfer.so.10 is missing") for one in cluster.engines)
    cluster.jobs_end = "fail"

    cluster.settle()

    status, reason, message = cluster.condition("EnginesReady")
    assert (status, reason) == ("False", "EngineFailed")
    assert "det: libnvinfer.so.10 is missing" in message
    assert (cluster.ready(), cluster.status.engines.failed) == (2, 2)


def with_failure(engine: HPIEngine, message: str) -> HPIEngine:
    """Return an engine that its agent has given up."""
    failure = {"reason": "BuildFailed", "message": message, "time": "2026-03-01T10:00:00Z"}
    written = engine.model_dump(mode="json", by_alias=True, exclude_none=True)
    return HPIEngine.model_validate({**written, "status": {"lastFailure": failure}})


def test_a_build_that_never_ends_is_given_up_visibly_after_its_time() -> None:
    cluster = a_cluster(build={**PREBUILD, "timeoutSeconds": 60})
    cluster.jobs_end = "never"
    longest = 600 + 2 * 60 + 60

    cluster.wait(longest - 10, step_seconds=10)
    before = cluster.replicas()
    cluster.wait(200, step_seconds=10)

    assert before == {}
    assert cluster.ready() == 2
    assert cluster.condition("EnginesReady")[:2] == ("False", "PrebuildGaveUp")


def test_time_alone_ends_the_wait() -> None:
    cluster = a_cluster()
    cluster.jobs_end = "never"
    cluster.wait(10)

    again = cluster.plan().look_again_seconds

    assert again is not None
    assert again <= 600 + 2 * 300 + 60


@pytest.mark.parametrize("policy", ["OnDemand", "Never"])
def test_nothing_is_built_ahead_unless_it_is_asked_for(policy: str) -> None:
    cluster = a_cluster(build={"policy": policy})

    cluster.settle()

    assert (jobs(cluster), cluster.engines) == ([], ())
    assert "EnginesReady" not in {one.type for one in cluster.status.conditions}


def test_jobs_go_with_the_revision_that_they_built_for() -> None:
    cluster = a_cluster()
    cluster.settle()
    before = cluster.names("Job")

    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.settle()

    assert len(before) == 1
    assert len(cluster.names("Job")) == 1
    assert cluster.names("Job") != before


def test_a_job_of_somebody_else_is_no_word_about_the_build() -> None:
    cluster = a_cluster()
    cluster.jobs_end = "never"
    cluster.make_pass()
    name = cluster.names("Job")[0]
    cluster.named("Job", name)["metadata"]["ownerReferences"] = []
    cluster.jobs_end = "complete"

    cluster.wait(60)

    assert cluster.replicas() == {}
    assert cluster.condition("Accepted")[:2] == ("False", "NameTaken")
