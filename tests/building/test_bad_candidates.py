"""A candidate that has a bad day leaves the others alone, and the decision says what became of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpi_agent.building.choice import find_decision
from hpi_agent.building.pipeline import BuildSettings, build_on_site
from hpi_agent.building.site import Site
from hpi_core.errors import EngineFailed, Refused
from models.graphs import TinyModel, beyond_32_bits, branch_of_two_gigabytes, matrices
from support.building import (
    SHORT,
    Built,
    Saboteur,
    a_site,
    build,
    building,
    engines_of,
    manifest_of,
    model_directory,
    only,
    resolution_of,
)
from support.manifests import DETECTION, RECOGNITION, a_module, an_ocr_pipeline

MEGABYTE = 2**20
ANSWERED = {"build": "build", "load": "load", "judge": "answer", "time": "round"}
"""What a candidate is asked when a step of it begins."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path / "store")


def a_manifest(tmp_path: Path, model: TinyModel | None = None, **spec: Any) -> str:
    return manifest_of(model_directory(tmp_path / "model", model), **spec)


@pytest.mark.parametrize("step", ["build", "load", "judge", "time"])
def test_a_candidate_that_crashes_natively_is_left_out_and_the_other_one_serves(
    step: str, tmp_path: Path, site: Site
) -> None:
    saboteur = Saboteur("openvino", step, signal.SIGSEGV)

    built = build(a_manifest(tmp_path), site, saboteur)

    crashed = built.outcome("openvino")
    assert crashed.verdict == "Failed"
    assert f"openvino was killed by SIGSEGV while it answered '{ANSWERED[step]}'" in crashed.reason
    assert "Choose another backend" in crashed.reason
    assert built.outcome("onnxruntime").verdict == "Chosen"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["build", "load", "judge", "time"])
def test_a_candidate_that_hangs_is_killed_after_its_seconds_and_the_other_one_serves(
    step: str, tmp_path: Path, site: Site
) -> None:
    saboteur = Saboteur("openvino", step, signal.SIGSTOP)

    built = build(a_manifest(tmp_path), site, saboteur, candidate_seconds=15)

    hung = built.outcome("openvino")
    assert hung.verdict == "Failed"
    assert f"gave no answer to '{ANSWERED[step]}' within 15 s and was killed" in hung.reason
    assert "allow more time" in hung.reason
    assert built.outcome("onnxruntime").verdict == "Chosen"


def test_a_candidate_that_takes_more_memory_than_allowed_is_killed_and_the_other_one_serves(
    tmp_path: Path, site: Site
) -> None:
    manifest = a_manifest(tmp_path, branch_of_two_gigabytes())

    built = build(manifest, site, candidate_memory_bytes=400 * MEGABYTE)

    greedy = built.outcome("openvino")
    assert greedy.verdict == "Failed"
    assert "more than the 400 MiB allowed, and was killed" in greedy.reason
    assert "allow more memory" in greedy.reason
    assert built.outcome("onnxruntime").verdict == "Chosen"


def test_a_candidate_that_answers_otherwise_than_the_reference_does_not_pass_however_fast_it_is(
    tmp_path: Path, site: Site
) -> None:
    built = build(a_manifest(tmp_path, beyond_32_bits()), site)

    wrong = built.outcome("openvino")
    assert wrong.verdict == "OutOfTolerance"
    assert wrong.reason.startswith("largest difference inf, 1.0e-04 allowed")
    assert wrong.timing is None
    assert built.outcome("onnxruntime").verdict == "Chosen"


def test_a_reduced_precision_does_not_pass_by_numbers_and_float32_of_the_same_backend_serves(
    tmp_path: Path, site: Site
) -> None:
    hardware = replace(site.hardware, isa_flags=("avx512_bf16",))
    wish = {"hpiConfig": {"backend": "openvino", "backendConfig": {"precision": "bf16"}}}
    manifest = a_manifest(tmp_path, matrices(), inference=wish)

    built = build(manifest, replace(site, hardware=hardware))

    reduced = built.outcome("openvino bfloat16")
    # Failed: where the processors cannot compute in it, the runtime says float32 and the engine does not load.
    assert reduced.verdict in ("OutOfTolerance", "Failed"), reduced.reason
    assert built.outcome("openvino").verdict == "Chosen"


@pytest.fixture
def nothing_serves(tmp_path: Path, site: Site) -> tuple[str, Built]:
    manifest = a_manifest(tmp_path, beyond_32_bits(), inference=only("openvino"))
    return manifest, build(manifest, site)


def test_when_every_candidate_fails_the_decision_has_no_choice_and_lists_every_reason(
    nothing_serves: tuple[str, Built], site: Site
) -> None:
    manifest, built = nothing_serves

    [decided] = [event for event in built.events if event["event"] == "decided"]

    assert built.decision.chosen is None
    assert decided["chosen"] is None
    assert decided["reason"].startswith("openvino: largest difference inf")
    assert "onnxruntime: the settings want openvino" in decided["reason"]
    assert find_decision(resolution_of(manifest, site)) is not None


def test_when_every_candidate_fails_the_next_build_tries_again(nothing_serves: tuple[str, Built], site: Site) -> None:
    manifest, _ = nothing_serves

    again = build(manifest, site)

    assert not again.is_hit


def test_the_command_ends_with_1_and_says_why_when_no_candidate_passes(tmp_path: Path) -> None:
    manifest = a_manifest(tmp_path, beyond_32_bits(), inference=only("openvino"))
    command = [*(sys.executable, "-m", "hpi_agent", "build", "-f", "-", "-o", "json"), "--store", str(tmp_path / "s")]

    done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)

    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1, done.stderr
    assert last["models"][0]["chosen"] is None
    assert "largest difference inf" in last["models"][0]["reason"]


def test_a_model_on_which_the_reference_itself_fails_is_not_decided_and_no_engine_is_left(
    tmp_path: Path, site: Site
) -> None:
    saboteur = Saboteur("onnxruntime", "reference", signal.SIGSEGV)

    with pytest.raises(EngineFailed, match="model 'tiny' cannot be judged: onnxruntime was killed by SIGSEGV"):
        build(a_manifest(tmp_path), site, saboteur)

    assert site.store.decisions() == []
    assert engines_of(site.store) == {}


def test_samples_that_do_not_fit_the_model_are_refused_with_both_sides_before_anything_is_built(
    tmp_path: Path, site: Site
) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    np.savez(samples / "wrong.npz", x=np.zeros((2, 4), dtype=np.float32))

    with pytest.raises(Refused, match=r"'x' must have shape \(\?, 3\).*got \(2, 4\)"):
        build(a_manifest(tmp_path), replace(site, samples=samples))

    assert engines_of(site.store) == {}


def test_a_full_disk_is_no_fault_of_a_candidate_and_nothing_is_decided(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    mounted = f'mount -t tmpfs -o size=512k tmpfs {store} && exec "$@"'
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]

    with building(a_manifest(tmp_path, matrices()), store, within) as process:
        last = process.finish()[-1]

    # An engine takes a megabyte, a decision some kilobytes: what failed for want of room would be remembered.
    assert (last["event"], last["kind"], last["decisions"]) == ("error", "Stop", 0)
    assert "No space left on device" in last["text"]
    assert "--store" in last["text"]


def test_a_model_that_cannot_be_judged_leaves_the_other_models_of_the_pipeline_alone(
    tmp_path: Path, site: Site
) -> None:
    paths = {"det": DETECTION, "rec": RECOGNITION}
    folders = {name: model_directory(tmp_path / name, name=name) for name in paths}
    modules = [
        a_module(path, name, model={"name": name, "source": f"file://{folders[name]}"}, inference=only("onnxruntime"))
        for name, path in paths.items()
    ]
    saboteur = Saboteur("onnxruntime", "reference", signal.SIGSEGV)
    settings = BuildSettings(site.store.root, None, pace=SHORT)

    with pytest.raises(EngineFailed, match="model 'det' cannot be judged"):
        build_on_site(json.dumps(an_ocr_pipeline(modules=modules)), "test.yaml", site, settings, saboteur)

    assert [event["model"] for event in saboteur.events if event["event"] == "decided"] == ["rec"]
    assert len(site.store.decisions()) == 1


def test_the_time_of_a_candidate_that_fails_while_it_is_measured_is_nobodys_measure(tmp_path: Path, site: Site) -> None:
    manifest = a_manifest(tmp_path)

    built = build(manifest, site, Saboteur("onnxruntime", "time", signal.SIGSEGV))

    assert built.outcome("onnxruntime").reason.startswith("failed while it was measured: onnxruntime was killed")
    assert built.outcome("onnxruntime").timing is None
    assert built.outcome("openvino").verdict == "Chosen"
    assert built.outcome("openvino").reason.endswith("the only candidate that passed")
