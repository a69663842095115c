"""The knowledge table: what is known of each model, and what a malformed table is answered with."""

from __future__ import annotations

import ast
import copy
import json
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from hpi_agent.configuration import configs_directory
from hpi_agent.profile import AcceleratorClass, HardwareClass
from hpi_agent.select.knowledge import Defect, Environment, Knowledge, Row, environment_of
from hpi_agent.select.read_knowledge import read_knowledge
from hpi_agent.select.ways import CPU, GPU, NPU
from hpi_core.errors import Bug
from support.manifests import with_value

SMALL: Final[dict[str, Any]] = {
    "format": 1,
    "source": "the tests",
    "environments": ["cpu_x64", "gpu_cuda12"],
    "letters": {"P": "paddle", "M": "paddle_mkldnn", "O": "openvino", "R": "onnxruntime"},
    "fails_on": {"m": "oneDNN", "i": "new IR"},
    "beyond": ["om"],
    "unknown": {"x86_64": ["openvino", "onnxruntime"], "aarch64": ["onnxruntime"], "npu": ["om", "paddle"]},
    "borrowed": [
        {"environment": "gpu_cuda12", "from": "cpu_x64", "backends": ["paddle_mkldnn"], "reason": "it is lent"}
    ],
    "fails_with": {"npu": {"P": ["unwarp"]}},
    "defects": [
        {"backend": "paddle_mkldnn", "versions": ["3.3.1"], "groups": ["text_detection"], "reason": "it fails"}
    ],
    "models": {"text_detection": {"det": ["OMRP", "RP"]}, "image_unwarping": {"unwarp": ["P", "-", "mi"]}},
}


def the_table() -> Knowledge:
    """Return the table that ships with the project."""
    return read_knowledge(yaml.safe_load((configs_directory() / "knowledge" / "paddlex.yml").read_text("utf-8")))


def small_with(path: str, value: Any) -> dict[str, Any]:
    """Return the small table with one value set."""
    return with_value(SMALL, path, value)


def refusal(document: dict[str, Any]) -> str:
    """Return why a table is refused; the test fails when it is not."""
    with pytest.raises(Bug) as caught:
        read_knowledge(document)
    return str(caught.value)


def test_a_row_names_backends_in_their_order() -> None:
    row = read_knowledge(SMALL).row("det", "cpu_x64", "x86_64")

    assert (row.order, row.known) == (("openvino", "paddle_mkldnn", "onnxruntime", "paddle"), True)


def test_a_row_says_what_the_model_fails_on() -> None:
    assert read_knowledge(SMALL).row("unwarp", "cpu_x64", "x86_64").fails_on == ("oneDNN", "new IR")


@pytest.mark.parametrize(
    ("model", "environment"),
    [("another", "cpu_x64"), ("unwarp", "gpu_cuda12"), ("det", "cpu_aarch64")],
    ids=["no such model", "no row in this environment", "no such environment"],
)
@pytest.mark.parametrize(
    ("architecture", "order"),
    [
        ("x86_64", ("openvino", "onnxruntime")),
        ("aarch64", ("onnxruntime",)),
        ("riscv64", ("onnxruntime",)),
        (None, ("onnxruntime",)),
    ],
)
def test_what_the_table_does_not_know_has_the_order_of_the_architecture(
    model: str, environment: str, architecture: str | None, order: tuple[str, ...]
) -> None:
    row = read_knowledge(SMALL).row(model, environment, architecture)

    assert (row.order, row.known) == (order, False)


def test_a_defect_counts_for_the_models_of_its_groups() -> None:
    knowledge = read_knowledge(SMALL)

    found = {name: knowledge.row(name, "cpu_x64", "x86_64").defects for name in ("det", "unwarp", "another")}

    defect = Defect("paddle_mkldnn", ("3.3.1",), ("text_detection",), "it fails")
    assert found == {"det": (defect,), "unwarp": (), "another": ()}


def processors(architecture: Any = "x86_64") -> HardwareClass:
    return HardwareClass(architecture, None, None, (), 1, 1, None)


def a_gpu(toolkit: str | None) -> HardwareClass:
    return replace(processors(), accelerator=AcceleratorClass("NVIDIA", "GPU", "8.0", toolkit=toolkit))


@pytest.mark.parametrize(
    ("architecture", "environment"), [("x86_64", "cpu_x64"), ("aarch64", "cpu_aarch64"), (None, "cpu_None")]
)
def test_only_x86_64_has_a_column_of_processors(architecture: str | None, environment: str) -> None:
    assert environment_of(processors(architecture)) == Environment(environment, architecture)
    assert (environment in the_table().environments) == (architecture == "x86_64")


@pytest.mark.parametrize(
    ("toolkit", "environment"),
    [("10.2", "gpu_cuda10"), ("11.4", "gpu_cuda11"), ("11.8", "gpu_cuda11"), ("12.0", "gpu_cuda12")],
)
def test_a_gpu_has_the_column_of_the_cuda_that_its_driver_serves(toolkit: str, environment: str) -> None:
    assert environment_of(a_gpu(toolkit)) == Environment(environment, "gpu")


@pytest.mark.parametrize("toolkit", ["13.0", "21.5"])
def test_for_a_later_cuda_the_newest_column_stands_in_and_it_is_said(toolkit: str) -> None:
    assert environment_of(a_gpu(toolkit)) == Environment(
        "gpu_cuda12", "gpu", f"the driver serves CUDA {toolkit}; the table's newest column, of CUDA 12, stands in"
    )


def test_without_a_known_cuda_no_column_counts_and_it_is_said() -> None:
    environment = environment_of(a_gpu(None))

    assert environment.name not in the_table().environments
    assert environment.note == "nobody knows which CUDA this driver serves, so no column of the table counts"


def test_an_npu_has_no_column_and_an_order_of_its_own() -> None:
    npu = replace(processors("aarch64"), accelerator=AcceleratorClass("Ascend", "Ascend310P3", chip="Ascend310P3"))

    assert environment_of(npu) == Environment("npu", "npu")
    assert the_table().row("PP-OCRv5_mobile_det", "npu", "npu") == replace(
        the_table().row("PP-OCRv5_mobile_det", "cpu_x64", "x86_64"), order=("om", "paddle"), known=False
    )


def test_what_a_column_says_nothing_of_is_borrowed_from_another_and_comes_last_with_the_reason() -> None:
    knowledge = read_knowledge(SMALL)

    row = knowledge.row("det", "gpu_cuda12", "gpu")

    both = read_knowledge(small_with("borrowed[0].backends", ["paddle_mkldnn", "paddle"])).row(
        "det", "gpu_cuda12", "gpu"
    )

    assert (row.order, row.borrowed) == (("onnxruntime", "paddle"), ("paddle_mkldnn",))
    # What the column has itself keeps its place.
    assert both == row
    assert row.listed == ("onnxruntime", "paddle", "paddle_mkldnn")
    assert knowledge.notes(row, Environment("gpu_cuda12", "gpu", "it stands in")) == ("it stands in", "it is lent")


def test_nothing_is_borrowed_where_nothing_is_known() -> None:
    knowledge = read_knowledge(SMALL)

    row = knowledge.row("another", "gpu_cuda12", "gpu")

    assert row.borrowed == ()
    assert knowledge.notes(row, Environment("gpu_cuda12", "gpu")) == ()


def test_what_fails_with_one_device_is_known_there_alone() -> None:
    knowledge = read_knowledge(SMALL)

    found = {unknown: knowledge.row("unwarp", "cpu_x64", unknown).fails_with for unknown in ("npu", "gpu", "x86_64")}

    assert found == {"npu": ("paddle",), "gpu": (), "x86_64": ()}
    assert knowledge.row("det", "npu", "npu").fails_with == ()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("format", 2, "the knowledge table must have format 1, got 2"),
        ("extra", 1, "the knowledge table must have exactly the keys"),
        ("environments", "cpu_x64", "environments: must be a list of texts, got 'cpu_x64'"),
        ("letters.PP", "paddle", "letters: must name one word for each letter"),
        ("letters.P", 5, "letters: must name one word for each letter"),
        ("models.text_detection", [], "models.text_detection: must be a mapping with text as keys, got []"),
        ("models.text_detection.det", "OMRP", "models.text_detection.det: must be a list of 2 orders"),
        ("models.text_detection.det", ["OMRP"], "models.text_detection.det: must be a list of 2 orders"),
        ("models.text_detection.det", ["O", "P", "m", "i"], "models.text_detection.det: must be a list of 2 orders"),
        ("models.text_detection.det", ["OZ", "P"], "models.text_detection.det: 'Z' is none of ['M', 'O', 'P', 'R']"),
        ("models.text_detection.det", ["O", "P", "z"], "models.text_detection.det: 'z' is none of ['i', 'm']"),
        ("models.text_detection.det", ["OO", "P"], "models.text_detection.det: 'OO' names a backend twice"),
        ("models.text_detection.det", ["", "P"], "models.text_detection.det: every order must be text"),
        ("models.text_detection.det", [None, "P"], "models.text_detection.det: every order must be text"),
        ("models.text_detection.unwarp", ["P", "P"], "the model has a row in models.text_detection already"),
        ("unknown.x86_64", ["tensorrt"], "unknown.x86_64: 'tensorrt' is none of"),
        ("unknown", {"x86_64": []}, "unknown: the order of aarch64 is missing"),
        ("defects", {}, "defects: must be a list, got {}"),
        ("defects[0].backend", "tensorrt", "defects[0].backend: 'tensorrt' is none of"),
        ("defects[0].groups", ["no_such_group"], "defects[0].groups: 'no_such_group' is none of"),
        ("defects[0].versions", "3.3.1", "defects[0].versions: must be a list of texts, got '3.3.1'"),
        ("beyond", "om", "beyond: must be a list of texts, got 'om'"),
        ("borrowed", {}, "borrowed: must be a list, got {}"),
        ("borrowed[0].from", "gpu_cuda13", "borrowed[0].from: 'gpu_cuda13' is none of"),
        ("borrowed[0].environment", "npu", "borrowed[0].environment: 'npu' is none of"),
        ("borrowed[0].backends", ["tensorrt"], "borrowed[0].backends: 'tensorrt' is none of"),
        ("borrowed[0].why", "", "borrowed[0]: must have exactly the keys environment, from, backends and reason"),
        ("fails_with.tpu", {}, "fails_with.tpu: 'tpu' is none of"),
        ("fails_with.npu.Z", [], "fails_with.npu: 'Z' is none of"),
        ("fails_with.npu.P", ["no_such_model"], "fails_with.npu: 'no_such_model' is none of"),
        ("defects[0].why", "", "defects[0]: must have exactly the keys backend, versions, groups and reason"),
    ],
)
def test_a_malformed_table_is_refused_with_the_place(path: str, value: Any, told: str) -> None:
    assert told in refusal(small_with(path, value))


@pytest.mark.parametrize("section", sorted(SMALL))
def test_a_table_without_one_of_its_sections_is_refused(section: str) -> None:
    document = {key: value for key, value in copy.deepcopy(SMALL).items() if key != section}

    assert "must have exactly the keys" in refusal(document)


def test_the_shipped_table_has_a_row_for_287_models_on_x86_64() -> None:
    table = the_table()

    known = [name for name in table.rows if table.row(name, "cpu_x64", "x86_64").known]

    assert len(known) == 287


@pytest.mark.parametrize(
    ("model", "order"),
    [
        ("PP-OCRv6_small_det", ("openvino", "onnxruntime", "paddle_mkldnn", "paddle")),
        ("PP-OCRv6_medium_rec", ("openvino", "paddle_mkldnn", "onnxruntime", "paddle")),
        ("PP-OCRv5_server_rec", ("paddle_mkldnn", "openvino", "paddle", "onnxruntime")),
        ("PP-LCNet_x1_0_doc_ori", ("paddle_mkldnn", "openvino", "onnxruntime", "paddle")),
        ("UVDoc", ("paddle",)),
        ("TimesNet_cls", ("onnxruntime", "paddle_mkldnn", "paddle")),
    ],
)
def test_the_shipped_table_repeats_what_paddlex_knows(model: str, order: tuple[str, ...]) -> None:
    assert the_table().row(model, "cpu_x64", "x86_64").order == order


def test_the_shipped_table_is_that_of_the_pinned_paddlex() -> None:
    table, paddlex = the_table(), distribution("paddlex")
    path = "paddlex/inference/models/runners/hpi/hpi_model_info_collection.json"
    collection = json.loads(Path(str(paddlex.locate_file(path))).read_text("utf-8"))

    theirs = {environment: collection[environment]["paddle311"] for environment in table.environments}

    rows = {environment: {name: table.row(name, environment, None) for name in table.rows} for environment in theirs}
    ours = {
        environment: {name: list(row.order) for name, row in named.items() if row.known}
        for environment, named in rows.items()
    }
    assert ours == theirs
    assert table.source.startswith(f"paddlex {paddlex.version},")


def test_no_row_of_processors_names_onednn_for_a_model_that_it_cannot_run() -> None:
    table = the_table()

    rows = {name: table.row(name, "cpu_x64", "x86_64") for name in table.rows}

    assert sum("oneDNN" in row.fails_on for row in rows.values()) == 45
    assert [name for name, row in rows.items() if "oneDNN" in row.fails_on and "paddle_mkldnn" in row.order] == []


def test_the_shipped_order_of_an_unknown_model_names_everything_that_the_architecture_runs() -> None:
    table = the_table()

    ways = [{way.pseudo for way in ways} for ways in (CPU, GPU, NPU)]

    assert table.unknown["x86_64"] == ("openvino", "onnxruntime", "paddle_mkldnn", "paddle")
    assert table.unknown["aarch64"] == ("onnxruntime", "openvino", "paddle")
    assert ways == [set(table.unknown[kind]) for kind in ("x86_64", "gpu", "npu")]


def test_the_shipped_table_tries_tensorrt_under_cuda_12_exactly_where_it_lists_it_under_cuda_11() -> None:
    table = the_table()

    rows = {name: [table.row(name, f"gpu_cuda{major}", "gpu") for major in (11, 12)] for name in table.rows}

    def with_tensorrt(row: Row) -> set[str]:
        return {backend for backend in row.listed if "tensorrt" in backend}

    # Three models have no row of CUDA 12 at all.
    known = {name: pair for name, pair in rows.items() if pair[1].known}
    assert len(known) == 284
    assert [
        name for name, (eleven, twelve) in known.items() if not with_tensorrt(eleven) <= with_tensorrt(twelve)
    ] == []
    assert rows["PP-OCRv5_mobile_det"][1].borrowed == ("paddle_tensorrt_fp16", "tensorrt_fp16")
    assert rows["PP-OCRv5_server_det"][1].borrowed == ()


def test_the_shipped_table_knows_what_paddle_cannot_run_on_an_npu() -> None:
    table = the_table()

    failing = [name for name in table.rows if table.row(name, "npu", "npu").fails_with == ("paddle",)]

    denied = {name.lower().replace("_", "").replace("-", "") for name in paddlexs_npu_blacklist()}
    ours = {name.lower().replace("_", "").replace("-", "") for name in failing}
    assert ours == denied & {name.lower().replace("_", "").replace("-", "") for name in table.rows}
    assert len(failing) == 20


def paddlexs_npu_blacklist() -> list[str]:
    """Return the list of the pinned PaddleX, read as text: importing it would start half of PaddleX."""
    source = Path(str(distribution("paddlex").locate_file("paddlex/utils/custom_device_list.py"))).read_text("utf-8")
    [found] = [
        statement.value
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "NPU_BLACKLIST"
    ]
    names: list[str] = ast.literal_eval(found)
    return names


def test_the_shipped_table_knows_the_version_of_paddle_that_fails_on_detectors() -> None:
    table = the_table()

    row = table.row("PP-OCRv5_mobile_det", "cpu_x64", "x86_64")

    assert [(defect.pseudo_backend, defect.versions) for defect in row.defects] == [("paddle_mkldnn", ("3.3.1",))]
    assert table.row("PP-OCRv5_mobile_rec", "cpu_x64", "x86_64").defects == ()
