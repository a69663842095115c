"""What one machine runs for a manifest: what is carried over, what is not applicable, and what is refused."""

from __future__ import annotations

import copy
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from hpi_agent.configuration import configs_directory
from hpi_agent.engines.base import CPU, Device
from hpi_agent.models.official import official_model
from hpi_agent.pipelines.effective import Effective, ModelUse, effective, inherited_settings
from hpi_agent.pipelines.ocr_config import KNOWN_KEYS, SWITCHES
from hpi_agent.pipelines.paddlex import registry_config
from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import CLUSTER_ONLY
from hpi_core.errors import InvalidManifest
from support.manifests import (
    DETECTION,
    RECOGNITION,
    Document,
    a_module,
    a_single_module,
    an_ocr_config,
    an_ocr_pipeline,
    checked,
    with_value,
)

ORIENTATION: Final = "SubModules.TextLineOrientation"
DOCUMENT_ORIENTATION: Final = "SubPipelines.DocPreprocessor.SubModules.DocOrientationClassify"
UNWARPING: Final = "SubPipelines.DocPreprocessor.SubModules.DocUnwarping"
ALL_FIVE: Final = {DETECTION, RECOGNITION, ORIENTATION, DOCUMENT_ORIENTATION, UNWARPING}

INLINE: Final = "spec.config.inline"


def plan_of(document: Document) -> Effective:
    return effective(checked(document), registry_config)


def wanted(use: ModelUse) -> tuple[str, str, str, str | None]:
    """Return which model is used where."""
    return use.path, use.name, use.source, use.digest


def problems_of(document: Document) -> list[str]:
    with pytest.raises(InvalidManifest) as refusal:
        plan_of(document)
    assert refusal.value.where == "HPIPipeline ocr"
    return refusal.value.problems


def a_full_pipeline(**switches: bool) -> Document:
    """Return a manifest of PaddleX's whole OCR pipeline, every model with a source, with switches set."""
    config = registry_config("OCR")
    assert config is not None
    document = an_ocr_pipeline(config={"inline": config}, modules=[a_module(path, "m") for path in sorted(ALL_FIVE)])
    for switch, value in switches.items():
        place = (
            "SubPipelines.DocPreprocessor." if switch in ("use_doc_unwarping", "use_doc_orientation_classify") else ""
        )
        document = with_value(document, f"{INLINE}.{place}{switch}", value)
    return document


def test_the_sample_runs_two_models_from_the_wheel_that_lends_them() -> None:
    text = (configs_directory() / "pipelines" / "ocr.yaml").read_text(encoding="utf-8")

    config = yaml.safe_load(text)["spec"]["config"]["inline"]

    plan = effective(read_pipeline(text, "ocr.yaml"), registry_config)

    assert plan == Effective(
        name="ocr",
        pipeline_name="OCR",
        config=config,
        models=(
            ModelUse(
                DETECTION,
                "PP-OCRv6_small_det",
                "package://rapidocr/models/PP-OCRv6_det_small.onnx",
                None,
                {},
                config["SubModules"]["TextDetection"],
            ),
            ModelUse(
                RECOGNITION,
                "PP-OCRv6_small_rec",
                "package://rapidocr/models/PP-OCRv6_rec_small.onnx",
                None,
                {},
                config["SubModules"]["TextRecognition"],
            ),
        ),
        device=CPU,
        hpi_config=None,
        visualize=True,
        not_applicable=("spec.replicas",),
    )


def test_the_manifest_is_left_as_it_was() -> None:
    manifest = checked(an_ocr_pipeline(modules=[a_module(DETECTION, "x"), a_module(RECOGNITION, "y")]))
    before = copy.deepcopy(manifest)

    plan = effective(manifest, registry_config)
    plan.with_directories({DETECTION: "/a", RECOGNITION: "/b"})

    assert manifest == before


def test_directories_are_put_where_the_models_stand_and_the_plan_stays() -> None:
    plan = plan_of(a_full_pipeline())
    before = copy.deepcopy(plan.config)

    config = plan.with_directories({DETECTION: "/store/det", UNWARPING: "/store/unwarping"})

    assert config["SubModules"]["TextDetection"]["model_dir"] == "/store/det"
    unwarping = config["SubPipelines"]["DocPreprocessor"]["SubModules"]["DocUnwarping"]
    assert unwarping["model_dir"] == "/store/unwarping"
    assert plan.config == before


def test_a_module_of_the_spec_names_the_model_its_source_and_its_digest() -> None:
    digest = "sha256:" + "0" * 64
    model = {"name": "other", "source": "package://a/b.onnx", "digest": digest}
    modules = [{"path": DETECTION, "model": model}, a_module(RECOGNITION, "rec")]

    plan = plan_of(an_ocr_pipeline(modules=modules))

    assert wanted(plan.models[0]) == (DETECTION, "other", "package://a/b.onnx", digest)
    assert plan.config["SubModules"]["TextDetection"]["model_name"] == "other"


def test_inference_settings_of_a_module_stand_at_its_place_in_paddlexs_words() -> None:
    inference = {"useHpip": True, "engine": "hpi", "hpiConfig": {"backend": "openvino", "autoConfig": False}}
    modules = [a_module(DETECTION, "det", inference=inference), a_module(RECOGNITION, "rec")]

    plan = plan_of(an_ocr_pipeline(modules=modules))

    detection = plan.config["SubModules"]["TextDetection"]
    assert detection["hpi_config"] == {"backend": "openvino", "auto_config": False}
    assert (detection["use_hpip"], detection["engine"]) == (True, "hpi")
    assert "hpi_config" not in plan.config["SubModules"]["TextRecognition"]
    assert plan.hpi_config is None


def test_inference_settings_of_the_spec_are_those_of_the_whole_pipeline() -> None:
    plan = plan_of(an_ocr_pipeline(inference={"hpiConfig": {"backend": "onnxruntime"}, "device": "gpu:1"}))

    assert plan.hpi_config == {"backend": "onnxruntime"}
    assert plan.device == Device("gpu", 1)


@pytest.mark.parametrize(("serving", "visualize"), [(..., True), ({}, True), ({"visualize": False}, False)])
def test_pictures_are_in_the_answers_unless_the_yaml_says_otherwise(serving: Any, visualize: bool) -> None:
    document = an_ocr_pipeline(config={"inline": an_ocr_config(Serving=serving)})

    assert plan_of(document).visualize is visualize


def test_a_single_module_is_one_model_without_a_pipeline() -> None:
    document = a_single_module(digest="sha256:" + "0" * 64)

    plan = plan_of(document)

    use = ModelUse(
        "text_detection", "det", "package://models_of_tests/det.onnx", "sha256:" + "0" * 64, {}, {}, alone=True
    )
    assert (plan.models, plan.pipeline_name, plan.config) == ((use,), None, {})


def test_a_single_module_without_a_source_that_is_no_official_model_is_refused() -> None:
    name = a_single_module()["spec"]["module"]["model"]["name"]

    assert problems_of(a_single_module(source=...)) == [
        f"spec.module.model.source: must be set: PaddleX has no official model {name!r} that this release can run"
    ]


def test_a_model_without_a_source_is_the_official_one_of_its_name() -> None:
    plan = effective(checked(an_ocr_pipeline(config=..., modules=..., pipeline="OCR")), registry_config, official_model)

    assert {use.path: use.source for use in plan.models}[RECOGNITION] == "hf://PaddlePaddle/PP-OCRv6_medium_rec_onnx"
    assert {use.path for use in plan.models} == ALL_FIVE


@pytest.mark.parametrize(
    ("serving", "problem"),
    [
        ({"tls": {"secretRef": {"name": "a"}}}, "spec.serving.tls: this release serves plain HTTP"),
        (
            {"auth": {"type": "BearerToken", "tokensSecretRef": {"name": "a"}}},
            "spec.serving.auth.type: this release lets",
        ),
        ({"protocols": ["OpenInferenceGRPC"]}, "spec.serving.protocols: this release does not speak OpenInferenceGRPC"),
        ({"queue": {"priorities": [{"name": "fast"}]}}, "spec.serving.queue: this release has one queue for all"),
        ({"queue": {"tenants": {}}}, "spec.serving.queue: this release has one queue for all"),
        (
            {"urlInputs": {"allowedHosts": ["a.example"]}},
            "spec.serving.urlInputs.allowedHosts: this release fetches no",
        ),
    ],
)
def test_a_setting_of_serving_that_this_release_does_not_honour_is_refused(serving: Document, problem: str) -> None:
    [told] = problems_of(with_value(an_ocr_pipeline(), "spec.serving", serving))

    assert told.startswith(problem)


def test_a_licence_is_refused_because_no_plugin_of_this_release_needs_one() -> None:
    licence = {"serialNumbersSecretRef": {"name": "a"}}

    assert problems_of(with_value(an_ocr_pipeline(), "spec.license", licence)) == [
        "spec.license: no plugin of this release needs a licence; take it out"
    ]


@pytest.mark.parametrize("field", CLUSTER_ONLY)
def test_a_field_that_only_a_cluster_honours_is_not_applicable(field: str) -> None:
    required = {
        "replicas": 2,
        "autoscaling": {"maxReplicas": 2},
        "runtime": {"variant": "hpi-cpu"},
        "route": {"parentRefs": [{"name": "gateway"}]},
    }

    plan = plan_of(an_ocr_pipeline(**{field: required.get(field, {})}))

    assert plan.not_applicable == (f"spec.{field}",)


def test_a_namespace_is_not_applicable() -> None:
    assert plan_of(with_value(an_ocr_pipeline(), "metadata.namespace", "a")).not_applicable == ("metadata.namespace",)


def test_what_is_not_applicable_is_listed_for_a_single_module_too() -> None:
    assert plan_of(with_value(a_single_module(), "spec.replicas", 2)).not_applicable == ("spec.replicas",)


def test_a_manifest_of_this_machine_alone_has_nothing_that_is_not_applicable() -> None:
    assert plan_of(an_ocr_pipeline(build={"policy": "Never"}, serving={}, inference={})).not_applicable == ()


def test_a_config_map_needs_a_cluster() -> None:
    assert problems_of(an_ocr_pipeline(config={"configMapKeyRef": {"name": "a", "key": "b"}})) == [
        "spec.config.configMapKeyRef: needs a cluster; write the YAML under spec.config.inline"
    ]


@pytest.mark.parametrize("path", ["spec.inference.useHpip", "spec.modules[1].inference.useHpip"])
def test_switching_hpi_off_in_the_spec_is_refused_at_both_levels(path: str) -> None:
    assert problems_of(with_value(an_ocr_pipeline(), path, False)) == [
        f"{path}: must not be false here: this release serves every model by high-performance inference"
    ]


@pytest.mark.parametrize("value", [False, None, 0, "", "false", 1])
@pytest.mark.parametrize("place", ["", "SubModules.TextDetection.", "SubPipelines.DocPreprocessor.", f"{UNWARPING}."])
def test_anything_but_true_for_hpi_in_the_yaml_is_refused_at_every_level(place: str, value: Any) -> None:
    document = with_value(a_full_pipeline(), f"{INLINE}.{place}use_hpip", value)

    assert problems_of(document) == [
        f"config {place}use_hpip: must be true or absent, got {value!r}: "
        "this release serves every model by high-performance inference"
    ]


def test_true_for_hpi_in_the_yaml_is_accepted() -> None:
    assert plan_of(with_value(an_ocr_pipeline(), f"{INLINE}.use_hpip", True)).config["use_hpip"] is True


@pytest.mark.parametrize(
    ("written", "device"),
    [
        (None, CPU),
        ("cpu", CPU),
        ("gpu", Device("gpu", 0)),
        ("gpu:0", Device("gpu", 0)),
        ("gpu:7", Device("gpu", 7)),
        ("npu:0", Device("npu", 0)),
    ],
)
def test_one_device_of_a_kind_that_is_served_is_honoured(written: str | None, device: Device) -> None:
    inference = {} if written is None else {"device": written}

    assert plan_of(an_ocr_pipeline(inference=inference)).device == device
    assert plan_of(with_value(a_single_module(), "spec.inference", inference)).device == device


@pytest.mark.parametrize(
    ("asked", "given", "device"),
    [
        (None, "gpu:0", Device("gpu", 0)),
        (None, "npu:0", Device("npu", 0)),
        (None, "cpu", CPU),
        (None, "", CPU),
        # A pod that was given several of them.
        ("gpu:1", "gpu:0", Device("gpu", 1)),
    ],
)
def test_a_pod_computes_on_the_device_that_it_was_given(asked: str | None, given: str, device: Device) -> None:
    manifest = checked(an_ocr_pipeline(inference={} if asked is None else {"device": asked}))

    assert effective(manifest, registry_config, given=given).device == device


@pytest.mark.parametrize(
    ("asked", "given", "problem"),
    [
        ("gpu:0", "cpu", "spec.inference.device: is gpu:0, and this pod was placed on cpu ($HPI_DEVICE)"),
        ("cpu", "npu:0", "spec.inference.device: is cpu, and this pod was placed on npu:0 ($HPI_DEVICE)"),
        (None, "tpu:0", "$HPI_DEVICE: must be cpu, gpu:N or npu:N, got 'tpu:0'"),
    ],
)
def test_another_device_than_the_pod_was_given_is_refused(asked: str | None, given: str, problem: str) -> None:
    manifest = checked(an_ocr_pipeline(inference={} if asked is None else {"device": asked}))

    with pytest.raises(InvalidManifest) as refused:
        effective(manifest, registry_config, given=given)

    [told] = refused.value.problems
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("cpu:0", "must be 'cpu' without a number, got 'cpu:0': the processors are one device"),
        (
            "gpu:0,1",
            "must be one device, got 'gpu:0,1': a server has one worker and a pipeline one device; write gpu:0 and "
            "start a server for each of the others",
        ),
        ("xpu:0", "must be cpu, gpu:N or npu:N, got 'xpu:0'; no runtime here computes on it"),
        ("metax_gpu", "must be cpu, gpu:N or npu:N, got 'metax_gpu'; no runtime here computes on it"),
        ("gpus:0", "must be cpu, gpu:N or npu:N, got 'gpus:0'; did you mean 'gpu'?"),
    ],
)
def test_a_device_that_cannot_be_honoured_is_refused_with_why(device: str, problem: str) -> None:
    assert problems_of(an_ocr_pipeline(inference={"device": device})) == [f"spec.inference.device: {problem}"]
    assert problems_of(with_value(a_single_module(), "spec.inference.device", device)) == [
        f"spec.inference.device: {problem}"
    ]


@pytest.mark.parametrize("place", ["spec.inference", "spec.modules[1].inference"])
def test_settings_of_the_engine_are_those_of_hpi(place: str) -> None:
    settings = {"backend": "tensorrt", "backend_config": {"precision": "fp16"}}

    on_gpu = an_ocr_pipeline(inference={"device": "gpu:0"})

    flat, named = (
        plan_of(with_value(on_gpu, f"{place}.engineConfig", written)).models
        for written in (settings, {"hpi": settings})
    )

    assert flat == named
    assert settings in [use.settings for use in flat]


@pytest.mark.parametrize("place", ["spec.inference", "spec.modules[1].inference"])
@pytest.mark.parametrize(
    ("inference", "problem"),
    [
        (
            {"engineConfig": {"backend": "paddle"}, "hpiConfig": {"backend": "paddle"}},
            ": hpiConfig and engineConfig mean the same for the engine hpi; set one",
        ),
        (
            {"engineConfig": {"hpi": {}, "paddle_static": {}}},
            ".engineConfig: this release serves the engine 'hpi', got settings of paddle_static",
        ),
        ({"engineConfig": {"hpi": 5}}, ".engineConfig.hpi: must be a mapping, got 5"),
    ],
)
def test_settings_of_the_engine_that_cannot_be_honoured_are_refused(
    place: str, inference: dict[str, Any], problem: str
) -> None:
    assert problems_of(with_value(an_ocr_pipeline(), place, inference)) == [f"{place}{problem}"]


def test_settings_that_the_device_cannot_honour_are_refused_with_the_device_they_need() -> None:
    modules = [
        a_module(DETECTION, "det", inference={"hpiConfig": {"backend": "tensorrt"}}),
        a_module(RECOGNITION, "rec", inference={"hpiConfig": {"backend": "paddle", "backendConfig": {"runmode": "x"}}}),
    ]

    assert problems_of(an_ocr_pipeline(modules=modules)) == [
        "hpi_config of det: the backend tensorrt needs the device gpu, and the device is cpu; set "
        "spec.inference.device to gpu:0, or take it out",
        "hpi_config of rec: backend_config.runmode is not known; did you mean 'run_mode'?",
    ]
    alone = with_value(a_single_module(), "spec.inference.hpiConfig", {"backend": "om"})
    assert "the backend om needs the device npu" in problems_of(alone)[0]


def test_what_is_wrong_with_the_settings_of_the_whole_pipeline_is_told_once_a_model() -> None:
    document = an_ocr_pipeline(inference={"device": "npu", "hpiConfig": {"backend": "onnxruntime"}})

    assert plan_of(document).device == Device("npu")
    assert len(problems_of(with_value(document, "spec.build.fallback", "Forbidden"))) == 2


@pytest.mark.parametrize(
    ("field", "value", "served"), [("mode", "Throughput", "Latency"), ("shapes", "Observed", "Declared")]
)
def test_a_way_of_building_of_a_later_release_is_refused(field: str, value: str, served: str) -> None:
    assert problems_of(with_value(an_ocr_pipeline(), f"spec.build.{field}", value)) == [
        f"spec.build.{field}: must be {served!r} in this release, got {value!r}"
    ]


def test_a_device_of_one_module_is_refused() -> None:
    document = with_value(an_ocr_pipeline(), "spec.modules[0].inference.device", "cpu")

    assert problems_of(document) == [
        "spec.modules[0].inference.device: must be set in spec.inference: PaddleX has one device for a pipeline"
    ]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("engine", "paddle", "must be 'hpi' or absent in this release, got 'paddle'"),
        ("engine_config", {}, "is not used in this release; write the settings under hpi_config"),
        ("hpi_config", ["openvino"], "must be a mapping, got list"),
    ],
)
@pytest.mark.parametrize("place", ["", "SubModules.TextDetection."])
def test_an_engine_of_paddlexs_own_is_refused_in_the_yaml(place: str, key: str, value: Any, problem: str) -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.{place}{key}", value)

    assert problems_of(document) == [f"config {place}{key}: {problem}"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("text_typ", "text_type"),
        ("SubModule", "SubModules"),
        ("SubModules.TextDetecton", "TextDetection"),
        ("SubModules.TextDetection.limit_sidelen", "limit_side_len"),
        ("SubModules.TextRecognition.score_treshold", "score_thresh"),
        ("SubModules.TextLineOrientation.batchsize", "batch_size"),
        ("SubPipelines.DocPreprocesor", "DocPreprocessor"),
        ("SubPipelines.DocPreprocessor.use_unwarping", "use_doc_unwarping"),
        (f"{UNWARPING}.modelname", "model_name"),
        ("Serving.visualise", "visualize"),
    ],
)
def test_an_unknown_key_of_the_yaml_is_refused_with_the_nearest_known_one(path: str, meant: str) -> None:
    document = with_value(a_full_pipeline(), f"{INLINE}.{path}", {})

    assert problems_of(document) == [f"config {path}: is not a key of PaddleX's OCR pipeline; did you mean {meant!r}?"]


@pytest.mark.parametrize("place", [path for path in KNOWN_KEYS if path])
def test_a_place_that_is_no_mapping_is_refused_and_never_breaks_the_reader(place: str) -> None:
    document = with_value(a_full_pipeline(), f"{INLINE}.{place}", 5)

    assert f"config {place}: must be a mapping, got int" in problems_of(document)


@pytest.mark.parametrize("place", ["SubModules", "SubModules.TextDetection", "Serving"])
@pytest.mark.parametrize("value", [5, "text", [], None])
def test_a_value_in_place_of_a_mapping_is_named(place: str, value: Any) -> None:
    document = with_value(an_ocr_pipeline(modules=...), f"{INLINE}.{place}", value)

    assert f"config {place}: must be a mapping, got {type(value).__name__}" in problems_of(document)


@pytest.mark.parametrize(
    ("switches", "built"),
    [
        ({}, ALL_FIVE),
        ({"use_textline_orientation": False}, ALL_FIVE - {ORIENTATION}),
        ({"use_doc_preprocessor": False}, ALL_FIVE - {DOCUMENT_ORIENTATION, UNWARPING}),
        ({"use_doc_unwarping": False}, ALL_FIVE - {UNWARPING}),
        ({"use_doc_orientation_classify": False}, ALL_FIVE - {DOCUMENT_ORIENTATION}),
        ({"use_doc_preprocessor": False, "use_textline_orientation": False}, {DETECTION, RECOGNITION}),
    ],
)
def test_a_switch_takes_its_models_out(switches: dict[str, bool], built: set[str]) -> None:
    document = a_full_pipeline(**switches)
    document["spec"]["modules"] = [a_module(path, "m") for path in sorted(built)]

    plan = plan_of(document)

    assert {use.path for use in plan.models} == built


def test_settings_of_a_model_that_is_switched_off_are_refused_instead_of_ignored() -> None:
    document = a_full_pipeline(use_doc_preprocessor=False)

    problems = problems_of(document)

    assert problems == [
        f"spec.modules[{index}]: its settings would be ignored, because use_doc_preprocessor is false and {path} "
        "is not built; take the entry out, or set use_doc_preprocessor to true"
        for index, path in enumerate(sorted(ALL_FIVE))
        if path in (DOCUMENT_ORIENTATION, UNWARPING)
    ]


@pytest.mark.parametrize("value", [None, 0, 1, "false"])
@pytest.mark.parametrize("switch", ["use_doc_preprocessor", "use_textline_orientation"])
def test_a_switch_that_is_neither_true_nor_false_is_refused(switch: str, value: Any) -> None:
    document = with_value(a_full_pipeline(), f"{INLINE}.{switch}", value)

    assert problems_of(document) == [f"config {switch}: must be true or false, got {value!r}"]


@pytest.mark.parametrize("value", [None, "no", 1])
def test_pictures_are_switched_by_true_or_false_alone(value: Any) -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.Serving.visualize", value)

    assert problems_of(document) == [f"config Serving.visualize: must be true or false, got {value!r}"]


def test_every_switch_is_a_known_key_of_the_place_above_its_part() -> None:
    for path, switch in SWITCHES.items():
        parent = path.rpartition(".")[0].rpartition(".")[0]

        assert switch in KNOWN_KEYS[parent]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("SubModules.TextDetecton", DETECTION),
        ("SubModules.textrecognition", RECOGNITION),
        ("SubPipelines.DocPreprocesor.SubModules.DocUnwarping", UNWARPING),
    ],
)
def test_a_module_path_that_is_not_there_is_answered_with_the_nearest_one(typo: str, meant: str) -> None:
    document = a_full_pipeline()
    document["spec"]["modules"][0]["path"] = typo

    assert f"spec.modules[0].path: the pipeline has no {typo!r}; did you mean {meant!r}?" in problems_of(document)


def test_a_module_path_of_a_part_that_the_yaml_leaves_out_is_refused() -> None:
    document = an_ocr_pipeline(modules=[a_module(UNWARPING, "m"), a_module(DETECTION, "d"), a_module(RECOGNITION, "r")])

    [problem] = problems_of(document)

    assert problem.startswith(f"spec.modules[0].path: the pipeline has no {UNWARPING!r}; allowed: {DETECTION}, ")


def test_a_model_dir_of_the_yaml_is_a_source() -> None:
    document = an_ocr_pipeline(modules=[a_module(RECOGNITION, "rec")])
    document = with_value(document, f"{INLINE}.{DETECTION}.model_dir", "/models/det")

    plan = plan_of(document)

    assert wanted(plan.models[0]) == (DETECTION, "det", "file:///models/det", None)
    assert "model_dir" not in plan.config["SubModules"]["TextDetection"]


def test_a_model_dir_with_characters_that_mean_something_in_an_address_is_the_same_directory() -> None:
    directory = "/models/50% #1?/ä"
    document = an_ocr_pipeline(modules=[a_module(RECOGNITION, "rec")])

    source = plan_of(with_value(document, f"{INLINE}.{DETECTION}.model_dir", directory)).models[0].source

    assert unquote(urlsplit(source).path) == directory


def test_a_module_without_a_source_may_rename_the_model_of_a_model_dir() -> None:
    document = an_ocr_pipeline(modules=[{"path": DETECTION, "model": {"name": "x"}}, a_module(RECOGNITION, "rec")])
    document = with_value(document, f"{INLINE}.{DETECTION}.model_dir", "/models/x")

    assert wanted(plan_of(document).models[0]) == (DETECTION, "x", "file:///models/x", None)


def test_a_model_dir_beside_a_source_is_refused() -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.{DETECTION}.model_dir", "/models/det")

    assert problems_of(document) == [
        f"config {DETECTION}.model_dir: must not be set when spec.modules gives a source for {DETECTION}"
    ]


@pytest.mark.parametrize("directory", ["models/det", "~/det", "", 5, ["/a"]])
def test_a_model_dir_that_is_no_absolute_path_is_refused(directory: Any) -> None:
    document = an_ocr_pipeline(modules=[a_module(RECOGNITION, "rec")])

    assert problems_of(with_value(document, f"{INLINE}.{DETECTION}.model_dir", directory)) == [
        f"config {DETECTION}.model_dir: must be an absolute path, got {directory!r}"
    ]


@pytest.mark.parametrize("name", [None, 5, ["det"]])
def test_a_model_without_a_name_is_refused(name: Any) -> None:
    document = an_ocr_pipeline(modules=[a_module(RECOGNITION, "rec")])
    document = with_value(document, f"{INLINE}.{DETECTION}", {"model_name": name, "model_dir": "/a"})

    assert problems_of(document) == [f"config {DETECTION}.model_name: must be the name of a model, got {name!r}"]


def test_a_registry_pipeline_names_every_model_that_needs_a_source() -> None:
    problems = problems_of(an_ocr_pipeline(config=..., modules=..., pipeline="OCR"))

    assert [problem.split(":")[0] for problem in problems] == [
        f"spec.modules[path={path}].model.source"
        for path in (DOCUMENT_ORIENTATION, UNWARPING, DETECTION, ORIENTATION, RECOGNITION)
    ]


def test_a_registry_pipeline_with_a_source_for_every_model_is_served() -> None:
    modules = [a_module(path, f"m{index}") for index, path in enumerate(sorted(ALL_FIVE))]

    plan = plan_of(an_ocr_pipeline(config=..., pipeline="OCR", modules=modules))

    assert {use.path for use in plan.models} == ALL_FIVE
    assert plan.pipeline_name == "OCR"


@pytest.mark.parametrize(
    ("name", "ending"),
    [("OCRR", "; did you mean 'OCR'?"), ("ocr", "; did you mean 'OCR'?"), ("nonsense", "; this release serves 'OCR'")],
)
def test_a_pipeline_that_paddlex_does_not_have_is_refused(name: str, ending: str) -> None:
    assert problems_of(an_ocr_pipeline(config=..., modules=..., pipeline=name)) == [
        f"spec.pipeline: {name!r} is not in PaddleX's registry{ending}"
    ]


def test_a_pipeline_of_a_later_release_is_refused() -> None:
    assert problems_of(an_ocr_pipeline(config=..., modules=..., pipeline="seal_recognition")) == [
        "spec.pipeline: this release serves the pipeline 'OCR', got 'seal_recognition'"
    ]


@pytest.mark.parametrize("name", [None, "ocr", 5])
def test_a_yaml_of_another_pipeline_is_refused(name: Any) -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.pipeline_name", name)

    assert problems_of(document) == [f"config pipeline_name: this release serves the pipeline 'OCR', got {name!r}"]


@pytest.mark.parametrize("text_type", [None, "", "printed", 5])
def test_a_text_type_that_paddlex_does_not_have_is_refused(text_type: Any) -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.text_type", text_type)

    assert problems_of(document) == [f"config text_type: must be one of ['general', 'seal'], got {text_type!r}"]


def test_a_yaml_without_the_parts_that_paddlex_builds_is_refused_with_all_of_them() -> None:
    document = an_ocr_pipeline(config={"inline": {"pipeline_name": "OCR", "text_type": "general"}}, modules=...)

    assert problems_of(document) == [
        f"config: PaddleX's OCR pipeline needs {DETECTION}",
        f"config: PaddleX's OCR pipeline needs {RECOGNITION}",
        f"config: PaddleX's OCR pipeline needs {ORIENTATION}, unless use_textline_orientation is false",
        f"config: PaddleX's OCR pipeline needs {DOCUMENT_ORIENTATION}, "
        "unless use_doc_preprocessor or use_doc_orientation_classify is false",
        f"config: PaddleX's OCR pipeline needs {UNWARPING}, unless use_doc_preprocessor or use_doc_unwarping is false",
    ]


def test_problems_of_the_spec_and_of_the_yaml_are_listed_together() -> None:
    document = with_value(an_ocr_pipeline(), f"{INLINE}.text_typ", "general")
    document = with_value(document, "spec.modules[0].inference.useHpip", False)
    document["spec"]["modules"][1]["path"] = "SubModules.TextRecogniton"

    assert [problem.split(":")[0] for problem in problems_of(document)] == [
        "spec.modules[0].inference.useHpip",
        "spec.modules[1].path",
        "config text_typ",
    ]


OPENVINO: Final = {"backend": "openvino", "auto_config": False}


@pytest.mark.parametrize(
    ("top", "argument", "own", "expected"),
    [
        (None, None, None, {}),
        ({"backend": "openvino"}, None, None, {"backend": "openvino"}),
        ({"backend": "openvino"}, {"backend": "onnxruntime"}, None, {"backend": "onnxruntime"}),
        ({"backend": "openvino", "auto_config": False}, {"backend": "onnxruntime"}, None, {"backend": "onnxruntime"}),
        ({"backend": "openvino"}, None, {"auto_config": False}, OPENVINO),
        (None, {"backend": "openvino"}, {"backend": "onnxruntime"}, {"backend": "onnxruntime"}),
        (
            {"backend_config": {"cpu_num_threads": 2}},
            None,
            {"backend_config": {}},
            {"backend_config": {}},
        ),
    ],
    ids=[
        "nothing is said",
        "the YAML's top level",
        "the argument replaces the YAML's",
        "the argument replaces all of the YAML's",
        "a model adds to its pipeline's",
        "a model's own wins",
        "a model's backend_config replaces its pipeline's whole",
    ],
)
def test_settings_are_inherited_as_in_paddlex(
    top: Document | None, argument: Document | None, own: Document | None, expected: Document
) -> None:
    config: Document = {"SubModules": {"TextDetection": {"hpi_config": own}}, "hpi_config": top}

    assert inherited_settings(config, DETECTION, argument) == expected


def test_settings_pass_through_a_sub_pipeline() -> None:
    place = "SubPipelines.DocPreprocessor.SubModules.DocUnwarping"
    config: Document = {
        "hpi_config": {"backend": "openvino"},
        "SubPipelines": {"DocPreprocessor": {"hpi_config": {"auto_config": False}, "SubModules": {"DocUnwarping": {}}}},
    }

    assert inherited_settings(config, place, None) == OPENVINO


@pytest.mark.parametrize("format_", ["Auto", "Paddle", "ONNX"])
def test_the_wanted_format_of_a_model_reaches_its_use(format_: str) -> None:
    model = a_module(DETECTION, "det")
    model["model"]["format"] = format_

    plan = plan_of(an_ocr_pipeline(modules=[model, a_module(RECOGNITION, "rec")]))

    assert plan.models[0].format == format_
