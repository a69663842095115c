"""What shapes an engine or its choice changes the key it is kept under, through the real build; nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpi_agent.building.pipeline import BuildSettings, build_on_site
from hpi_agent.select.keys import difference
from hpi_core.errors import InvalidManifest
from support.building import SHORT, engines_of
from support.key_fields import DOES_NOT_SHAPE, SHAPES, Shaped
from support.key_mutations import CONSTANT, MUTATIONS, REFUSED, Case, a_case
from support.processors import needs_bfloat16

FEWEST = 40
SHAPING = sorted(MUTATIONS.keys() & SHAPES.keys())
IRRELEVANT = sorted(MUTATIONS.keys() & DOES_NOT_SHAPE.keys())

BUILT_FAST = (
    "engine.model.digest",
    "engine.backend.version",
    "engine.threads",
    "engine.shapes.*",
    "engine.device.isaFlags",
    "engine.plugin.lockDigest",
    "decision.samples.origin",
    "decision.accuracy.tolerance",
    "spec.build.fallback",
    "spec.module.model.source",
    "spec.serving.limits.pages",
    "spec.replicas",
)
"""Fields that are changed through a whole build in every run; all others when there is time."""


def test_every_field_has_a_change_or_a_reason_why_there_is_none() -> None:
    classified = {*SHAPES, *DOES_NOT_SHAPE}

    covered = {*MUTATIONS, *CONSTANT, *REFUSED}

    assert (sorted(classified - covered), sorted(covered - classified)) == ([], [])
    assert len(SHAPING) >= FEWEST


@pytest.mark.parametrize("path", SHAPING)
def test_a_field_that_shapes_changes_its_key(path: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[path]
    case = mutation.before(a_case(mutation.case, tmp_path))
    engines, decisions = case.engine_keys(), case.decision_keys()

    changed = mutation.change(case)

    key: Shaped = SHAPES[path].key
    if key in ("engine", "both"):
        assert changed.engine_keys() - engines
    if key in ("decision", "both"):
        assert changed.decision_keys() - decisions


@pytest.mark.parametrize("path", IRRELEVANT)
def test_a_field_that_does_not_shape_changes_no_key(path: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[path]
    case = mutation.before(a_case(mutation.case, tmp_path))
    keys = (case.engine_keys(), case.decision_keys())

    changed = mutation.change(case)

    assert changed.document != case.document
    assert (changed.engine_keys(), changed.decision_keys()) == keys


@pytest.mark.parametrize("path", [path for path in SHAPING if not path.startswith("spec.")])
def test_the_change_reaches_the_very_field_of_the_document(path: str, tmp_path: Path) -> None:
    mutation, (kind, _, field) = MUTATIONS[path], path.partition(".")
    case = mutation.before(a_case(mutation.case, tmp_path))
    [first, *_] = case.documents(kind)

    [after, *_] = mutation.change(case).documents(kind)

    differing = [one.path for one in difference(first, after)]
    print(f"{path}: {differing}")
    assert any(one.startswith(field.removesuffix("*")) for one in differing)


@pytest.mark.parametrize("path", sorted(REFUSED))
def test_a_field_that_cannot_be_honoured_here_is_refused_by_name(path: str, tmp_path: Path) -> None:
    mutation = REFUSED[path]
    case = mutation.change(a_case(mutation.case, tmp_path))

    with pytest.raises(InvalidManifest, match=path.removesuffix(".name").rsplit(".", 1)[-1]):
        case.resolutions()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Return the case `module`, built."""
    case = a_case("module", tmp_path_factory.mktemp("built"))
    build_all(case)
    return case


@pytest.mark.parametrize("path", BUILT_FAST)
def test_a_build_makes_anew_what_a_field_shapes_and_hits_otherwise(path: str, built: Case, tmp_path: Path) -> None:
    case = a_case("module", Path(shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)))

    check_by_building(path, case)


BUILT_SLOWLY = [path for path, mutation in MUTATIONS.items() if mutation.can_be_built and path not in BUILT_FAST]
NEEDS = {"engine.precision": needs_bfloat16}
"""What the processors must have for a field's change to be built."""


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(path, marks=NEEDS.get(path, ())) for path in BUILT_SLOWLY])
def test_every_build_makes_anew_what_a_field_shapes_and_hits_otherwise(path: str, built: Case, tmp_path: Path) -> None:
    if MUTATIONS[path].case == "module":
        # What was built before is the same for all of these; a field that needs more before is built for itself.
        shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)

    check_by_building(path, a_case(MUTATIONS[path].case, tmp_path))


def check_by_building(path: str, case: Case) -> None:
    """Build, change one field, build again, and compare what is new with what the table says."""
    mutation = MUTATIONS[path]
    case = mutation.before(case)
    build_all(case)
    engines, decisions = set(engines_of(case.site.store)), len(case.site.store.decisions())

    hits = build_all(mutation.change(case))

    store = case.site.store
    if path in DOES_NOT_SHAPE:
        assert all(hits)
        assert (set(engines_of(store)), len(store.decisions())) == (engines, decisions)
        return
    assert not all(hits)
    assert len(store.decisions()) > decisions
    if SHAPES[path].key in ("engine", "both"):
        assert set(engines_of(store)) - engines


def build_all(case: Case) -> list[bool]:
    """Build every model of a case; return which were decided before."""
    events: list[dict[str, object]] = []
    settings = BuildSettings(case.site.store.root, None, pace=SHORT)
    build_on_site(case.manifest, "test.yaml", case.site, settings, events.append)
    return [bool(event["hit"]) for event in events if event["event"] == "decided"]
