"""Building for a GPU that is not there: what reaches the candidates, who may serve, and under which driver."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.building import choice
from hpi_agent.building.choice import EngineChooser, choice_of, find_decision
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import COMPILING_STEP_SECONDS, STEP_SECONDS, BuildSettings, build_on_site, read_plan
from hpi_agent.building.resolution import Resolution
from hpi_agent.building.site import Site
from hpi_agent.engines.base import CPU, Device, ShapeProfile
from hpi_agent.engines.shelf import Shelf
from hpi_agent.select.wish import read_wish
from hpi_core.errors import Bug
from support.building import (
    NAME,
    SHORT,
    Built,
    build,
    engines_of,
    explained,
    manifest_of,
    model_directory,
    only,
    resolution_of,
    wait_until,
)
from support.engines import InMemoryRuntime
from support.pretended_gpu import COARSE, DRIVER, MANTISSA_BITS, STRICT, UUID, a_gpu_site, pretend

SHAPES = {"x": [[1, 3], [2, 3], [4, 3]]}
DECLARED: dict[str, Any] = {"Hpi": {"backend_configs": {"tensorrt": {"dynamic_shapes": SHAPES}}}}
OTHER_DRIVER = "550.90.07"


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_directory(tmp_path / "model", **DECLARED)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_gpu_site(tmp_path / "store")


def gpu_manifest(folder: Path, **spec: Any) -> str:
    inference = {"device": "gpu:1", **spec.pop("inference", {})}
    return manifest_of(folder, inference=inference, **spec)


def verdicts(built: Built) -> dict[str, str]:
    return {outcome.candidate.name: outcome.verdict for outcome in built.decision.outcomes}


@pytest.mark.slow
def test_what_computes_on_the_gpu_is_built_judged_timed_and_chosen(folder: Path, site: Site) -> None:
    built = build(gpu_manifest(folder), site)

    tried = {name: verdict for name, verdict in verdicts(built).items() if verdict != "Excluded"}
    assert set(tried) == {
        "onnxruntime cuda tf32",
        "onnxruntime cuda",
        "tensorrt tf32",
        "tensorrt",
        "onnxruntime tensorrt tf32",
    }
    assert sorted(set(tried.values())) == ["Chosen", "Slower"]
    assert built.decision.chosen is not None
    assert built.decision.chosen.candidate.backend == "tensorrt"
    assert built.decision.chosen.candidate.device == "gpu"
    assert built.decision.gate is not None
    assert built.decision.gate.reference.startswith("onnxruntime 1.")
    assert built.outcome("onnxruntime on cpu instead of gpu").reason.startswith("stands by in case nothing can serve")


def test_device_shapes_memory_and_timings_reach_the_one_who_builds(folder: Path, site: Site) -> None:
    manifest = gpu_manifest(folder, inference=only("tensorrt"), build={"deviceMemoryBytes": 2**30})

    built = build(manifest, site)

    assert built.decision.chosen is not None
    key = str(built.decision.chosen.engine_key).removeprefix("sha256:")
    written = json.loads((site.store.root / "engines" / key / "engine.bin").read_text())
    document = json.loads((site.store.root / "engines" / key / "engine.json").read_text())
    assert written["profiles"] == SHAPES
    assert written["deviceMemoryBytes"] == document["device"]["memoryBytes"] == 2**30
    assert document["device"]["accelerator"]["product"] == "NVIDIA A100-SXM4-40GB"
    assert document["shapes"] == SHAPES
    [cache] = (site.store.root / "timing").iterdir()
    assert cache.read_bytes() == b"measurements"


def test_timings_of_another_device_or_compiler_are_kept_in_another_file(folder: Path, site: Site) -> None:
    def file(changed: Site, backend: str = "tensorrt", **config: str) -> Path | None:
        resolution = resolution_of(gpu_manifest(folder, inference=only(backend, **config)), changed)
        return resolution.timing_cache(resolution.candidates.survivors[0])

    assert site.hardware.accelerator is not None
    other_gpu = replace(site.hardware, accelerator=replace(site.hardware.accelerator, product="another"))
    changed = [
        file(replace(site, hardware=other_gpu)),
        file(replace(site, device_runtimes={**site.device_runtimes, "tensorrt": "10.10"})),
        file(site, "onnxruntime", execution_provider="tensorrt"),
    ]

    assert len({file(site), *changed}) == 4
    assert file(site, "onnxruntime", execution_provider="cuda") is None


@pytest.mark.slow
def test_a_precision_that_is_too_coarse_is_refused_and_float32_serves(
    folder: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COARSE, "5")

    built = build(gpu_manifest(folder, inference=only("tensorrt")), site)

    assert verdicts(built)["tensorrt tf32"] == "OutOfTolerance"
    assert "2.0e-03 allowed" in built.outcome("tensorrt tf32").reason
    assert verdicts(built)["tensorrt"] == "Chosen"


@pytest.mark.slow
def test_float16_that_nothing_but_numbers_could_judge_does_not_pass_and_says_what_would_let_it(
    folder: Path, site: Site
) -> None:
    refused = build(gpu_manifest(folder, inference=only("tensorrt", precision="fp16")), site)
    accuracy = {"accuracy": {"level": "Numeric", "tolerancePartsPerMillion": 2000}}
    passed = build(gpu_manifest(folder, inference=only("tensorrt", precision="fp16"), build=accuracy), site)

    assert verdicts(refused)["tensorrt float16"] == "OutOfTolerance"
    assert "float16 passes by numbers where accuracy.level is Numeric and a tolerance is given" in (
        refused.outcome("tensorrt float16").reason
    )
    assert verdicts(passed)["tensorrt float16"] == "Chosen"
    assert MANTISSA_BITS["float16"] == 10


@pytest.mark.slow
def test_the_users_shapes_are_what_an_engine_is_compiled_for_and_judged_on(folder: Path, site: Site) -> None:
    narrow = {"x": [[2, 3], [2, 3], [3, 3]]}

    built = build(gpu_manifest(folder, inference=only("tensorrt", dynamic_shapes=narrow)), site)

    assert built.decision.chosen is not None, built.decision.outcomes
    key = str(built.decision.chosen.engine_key).removeprefix("sha256:")
    assert json.loads((site.store.root / "engines" / key / "engine.bin").read_text())["profiles"] == narrow


def test_where_nothing_computes_on_the_gpu_the_processors_stand_in_visibly(folder: Path, tmp_path: Path) -> None:
    bare = a_gpu_site(tmp_path / "store", onnxruntime=None, tensorrt=None)

    built = build(gpu_manifest(folder), bare)

    resolution = resolution_of(gpu_manifest(folder), bare)
    found = choice_of(resolution, find_decision(resolution), fallback_allowed=True)
    assert built.decision.chosen is not None
    assert built.decision.chosen.candidate.name.endswith("on cpu instead of gpu")
    assert found.state == "Fallback"
    assert found.attempts[0].name == built.decision.chosen.candidate.name
    assert choice_of(resolution, None, fallback_allowed=True).state == "Fallback"
    assert "is not installed for the gpu here" in built.outcome("onnxruntime cuda").reason


def test_where_falling_back_is_forbidden_nothing_stands_in(folder: Path, tmp_path: Path) -> None:
    bare = a_gpu_site(tmp_path / "store", onnxruntime=None, tensorrt=None)

    built = build(gpu_manifest(folder, build={"fallback": "Forbidden"}), bare)

    resolution = resolution_of(gpu_manifest(folder, build={"fallback": "Forbidden"}), bare)
    assert built.decision.chosen is None
    assert choice_of(resolution, built.decision, fallback_allowed=False).attempts == ()


@pytest.mark.slow
def test_an_engine_of_the_processors_is_the_same_for_whoever_asks(folder: Path, tmp_path: Path) -> None:
    bare = a_gpu_site(tmp_path / "store", onnxruntime=None, tensorrt=None)
    build(gpu_manifest(folder), bare)
    before = set(engines_of(bare.store))

    plain = replace(bare, device=CPU, device_runtimes={}, hardware=replace(bare.hardware, accelerator=None))
    built = build(manifest_of(folder), plain)

    assert set(engines_of(bare.store)) == before
    assert not built.is_hit


def exact(folder: Path, match: str) -> str:
    return gpu_manifest(folder, inference=only("tensorrt", precision="fp32"), build={"driverMatch": match})


@pytest.mark.slow
@pytest.mark.parametrize(("match", "hit"), [("Exact", False), ("Major", True), ("Verified", False)])
def test_a_decision_of_another_driver_counts_as_far_as_its_user_says(
    match: str, hit: bool, folder: Path, tmp_path: Path
) -> None:
    build(exact(folder, match), a_gpu_site(tmp_path / "store"))

    again = build(exact(folder, match), a_gpu_site(tmp_path / "store", OTHER_DRIVER))

    assert again.is_hit is hit
    built_anew = "build" in [event.get("step") for event in again.events]
    assert built_anew is (match == "Exact")


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return a manifest that was built under one driver, and the store."""
    root = tmp_path_factory.mktemp("verified")
    manifest = exact(model_directory(root / "model", **DECLARED), "Verified")
    with pytest.MonkeyPatch.context() as monkeypatch:
        pretend(monkeypatch)
        build(manifest, a_gpu_site(root / "store"))
    return manifest, root / "store"


@pytest.fixture
def verified(built_once: tuple[str, Path], tmp_path: Path) -> tuple[str, Site, Site]:
    """Return a manifest that was built under one driver, and sites with that driver and with another."""
    manifest, store = built_once
    copy = shutil.copytree(store, tmp_path / "copy")
    return manifest, a_gpu_site(copy), a_gpu_site(copy, OTHER_DRIVER)


def served_first(manifest: str, site: Site) -> tuple[str, str, str]:
    resolution: Resolution = resolution_of(manifest, site)
    found = choice_of(resolution, find_decision(resolution), fallback_allowed=True)
    return found.attempts[0].name, found.state, found.attempts[0].reason


def test_an_engine_that_was_not_verified_under_a_driver_does_not_serve_there_yet(
    verified: tuple[str, Site, Site],
) -> None:
    manifest, first, other = verified

    assert served_first(manifest, first)[1] == "Measured"
    assert served_first(manifest, other) == (
        "tensorrt",
        "Unmeasured",
        f"stands in: the decided engine was not verified under the driver {OTHER_DRIVER} yet",
    )
    decision = explained(manifest, other)["decision"]
    assert (decision["hit"], decision["verified"], decision["verifiedOnDrivers"]) == (True, False, ["550.54.15"])


def test_the_next_build_verifies_it_without_building_and_then_it_serves_under_both(
    verified: tuple[str, Site, Site],
) -> None:
    manifest, first, other = verified

    built = build(manifest, other)

    steps = [event["step"] for event in built.events if event["event"] == "candidate"]
    assert steps[:3] == ["load", "judge", "passed"]
    assert built.decision.verified_on_drivers == ("550.54.15", OTHER_DRIVER)
    assert build(manifest, first).is_hit
    assert build(manifest, other).is_hit
    assert [served_first(manifest, one)[1] for one in (first, other)] == ["Measured", "Measured"]


@pytest.mark.slow
def test_an_engine_that_another_driver_cannot_load_fails_with_the_way_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = exact(folder, "Major")
    monkeypatch.setenv(DRIVER, "550.54.15")
    build(manifest, a_gpu_site(tmp_path / "store"))
    monkeypatch.setenv(DRIVER, OTHER_DRIVER)
    monkeypatch.setenv(STRICT, "1")

    built = build(manifest, a_gpu_site(tmp_path / "store", OTHER_DRIVER), again=True)

    assert verdicts(built)["tensorrt"] == "Failed"
    assert "built under the driver 550.54.15" in built.outcome("tensorrt").reason
    assert built.outcome("tensorrt").reason.endswith("set driverMatch to Exact, and it is built for this one")


def test_a_choice_that_changed_is_verified_under_the_driver_that_it_was_made_under_alone(
    verified: tuple[str, Site, Site],
) -> None:
    manifest, first, other = verified
    resolution = resolution_of(manifest, other)
    decision = find_decision(resolution)
    assert decision is not None
    assert decision.chosen is not None

    same, another = (resolution.verified_on_drivers(decision, key) for key in (decision.chosen.engine_key, "sha256:1"))

    assert same == ("550.54.15", OTHER_DRIVER)
    assert another == (OTHER_DRIVER,)
    assert resolution.verified_on_drivers(None, None) == (OTHER_DRIVER,)
    assert first.hardware.accelerator != other.hardware.accelerator


def test_builds_on_one_device_take_turns(folder: Path, site: Site) -> None:
    events: list[dict[str, Any]] = []
    manifest = gpu_manifest(folder, inference=only("tensorrt", precision="fp32"))

    def build_beside() -> None:
        settings = BuildSettings(site.store.root, None, pace=SHORT)
        build_on_site(manifest, "test.yaml", site, settings, events.append)

    with site.store.hold(f"device-{UUID}"):
        thread = threading.Thread(target=build_beside)
        thread.start()
        wait_until(lambda: "device" in [event.get("step") for event in events])
        waiting = [event["step"] for event in events if event["event"] == "model"]
    thread.join()

    assert waiting == ["device"]
    assert [event["event"] for event in events][-1] == "finished"


@pytest.mark.parametrize(("device", "seconds"), [(CPU, STEP_SECONDS), (Device("gpu"), COMPILING_STEP_SECONDS)])
def test_a_step_may_take_longer_where_kernels_are_compiled(device: Device, seconds: int, tmp_path: Path) -> None:
    assert BuildSettings(tmp_path, None).bounds(device).seconds == seconds
    assert BuildSettings(tmp_path, None, candidate_seconds=7).bounds(device).seconds == 7


def test_a_worker_loads_engines_with_the_device_the_shapes_and_the_memory(
    folder: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = InMemoryRuntime()
    monkeypatch.setattr(choice, "load_engine", runtime.load)
    settings = only("tensorrt", precision="fp32")
    manifest = gpu_manifest(folder, inference=settings, build={"deviceMemoryBytes": 2**30})
    build(manifest, site)
    checked, plan = read_plan(manifest, "test.yaml")
    models = assemble_models(plan, site.store)
    chooser = EngineChooser(site, checked.spec.build, plan, models, looks_in_store=True)

    served = Shelf(chooser.choose).put(NAME, models[0].directory, read_wish("here", plan.models[0].settings))

    [request] = runtime.requests
    assert served.state == "Measured"
    assert (request.device, request.device_memory_bytes) == (Device("gpu", 0), 2**30)
    assert request.profiles == (ShapeProfile("x", (1, 3), (2, 3), (4, 3)),)
    assert request.built is not None
    assert (request.precision, request.threads) == ("float32", 1)


def test_the_report_names_the_device_that_was_asked_for_and_what_was_found(folder: Path, site: Site) -> None:
    from hpi_agent.building.explain import explain_on_site

    report = explain_on_site(gpu_manifest(folder), "test.yaml", site)

    assert report["device"] == {"asked": "gpu:1", "found": "NVIDIA A100-SXM4-40GB 1g.5gb, driver 550.54.15"}
    assert report["models"][0]["notes"] == []


def test_a_later_cuda_is_told_with_what_stands_in(folder: Path, site: Site) -> None:
    assert site.hardware.accelerator is not None
    later = replace(site.hardware, accelerator=replace(site.hardware.accelerator, toolkit="13.0"))

    [note] = explained(gpu_manifest(folder), replace(site, hardware=later))["notes"]

    assert note == "the driver serves CUDA 13.0; the table's newest column, of CUDA 12, stands in"


def test_a_plan_for_another_device_than_the_site_was_read_for_is_a_mistake_of_ours(folder: Path, site: Site) -> None:
    with pytest.raises(Bug, match="the plan is for the device cpu, the site was read for gpu:1"):
        resolution_of(manifest_of(folder), site)
