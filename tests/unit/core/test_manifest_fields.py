"""Fields of a manifest: which values are taken, and what is said of the rest."""

from __future__ import annotations

from typing import Any, Final

import pytest

from hpi_core.api.document import MAX_SHOWN_CHARACTERS
from hpi_core.api.manifest import known_fields
from hpi_core.spelling import did_you_mean
from support.manifests import (
    DETECTION,
    Document,
    a_module,
    a_single_module,
    an_ocr_config,
    an_ocr_pipeline,
    checked,
    problems_of,
    with_value,
)

EVERYTHING = an_ocr_pipeline()

NAME_WORDS: Final = (
    "must be lower-case letters, digits and '-' in parts with '.' between, each with a letter or a digit at both ends"
)
SERVICE_WORDS: Final = (
    "metadata.name must be 1 to 63 lower-case letters, digits and '-', with a letter first and a letter or a digit "
    "last: a Service gets that name"
)
NAMESPACE_WORDS: Final = "must be 1 to 63 lower-case letters, digits and '-', with a letter or a digit at both ends"
MODEL_WORDS: Final = "must be 1 to 128 letters, digits, '.', '_', '+' and '-', with a letter or a digit first"
MODULE_WORDS: Final = "must be 1 to 64 lower-case letters, digits and '_', such as 'text_detection'"
PATH_WORDS: Final = "must be like 'SubModules.TextDetection' or 'SubPipelines.DocPreprocessor.SubModules.DocUnwarping'"
DEVICE_WORDS: Final = "must be a device such as 'cpu', 'gpu:0' or 'gpu:0,1'"
DIGEST_WORDS: Final = "must be 'sha256:' and 64 lower-case hexadecimal digits"

LEVELS: Final = {
    "": "metadata",
    "metadata": "labels",
    "spec": "modules",
    "spec.config": "configMapKeyRef",
    "spec.modules[0]": "inference",
    "spec.modules[0].model": "source",
    "spec.modules[0].inference": "useHpip",
    "spec.modules[0].inference.hpiConfig": "autoConfig",
    "spec.inference": "hpiConfig",
    "spec.inference.hpiConfig": "backendConfig",
    "spec.build": "timeoutSeconds",
    "spec.serving": "timeouts",
    "spec.serving.limits": "imagePixels",
    "spec.serving.queue": "length",
    "spec.serving.timeouts": "drainSeconds",
}


def with_model(**changes: Any) -> Document:
    return an_ocr_pipeline(modules=[{"path": DETECTION, "model": {"name": "det", **changes}}])


@pytest.mark.parametrize(("level", "field"), LEVELS.items())
def test_an_unknown_field_is_refused_with_the_nearest_known_one_at_every_level(level: str, field: str) -> None:
    path = f"{level}.{field}s".lstrip(".")

    problems = problems_of(with_value(EVERYTHING, path, {}))

    assert problems == [f"{path}: is not a known field; did you mean {field!r}?"]


@pytest.mark.parametrize(("level", "field"), LEVELS.items())
def test_an_unknown_field_far_from_all_is_answered_with_the_list_of_them(level: str, field: str) -> None:
    path = f"{level}.zzzz".lstrip(".")

    [problem] = problems_of(with_value(EVERYTHING, path, {}))

    known = problem.removeprefix(f"{path}: is not a known field; allowed: ").split(", ")
    assert field in known
    assert known == sorted(known)


@pytest.mark.parametrize("level", ["spec.module", "spec.module.model"])
def test_an_unknown_field_of_a_single_module_is_refused_with_the_nearest_known_one(level: str) -> None:
    problems = problems_of(with_value(a_single_module(), f"{level}.Name", "x"))

    assert problems == [f"{level}.Name: is not a known field; did you mean 'name'?"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("use_hpip", "useHpip"), ("usehpip", "useHpip"), ("USEHPIP", "useHpip"), ("hpi_config", "hpiConfig")],
)
def test_a_snake_case_field_is_answered_with_its_camel_case_name(written: str, meant: str) -> None:
    problems = problems_of(with_value(EVERYTHING, f"spec.inference.{written}", None))

    assert problems == [f"spec.inference.{written}: is not a known field; did you mean {meant!r}?"]


def test_every_problem_of_a_manifest_is_listed() -> None:
    document = with_value(with_value(EVERYTHING, "spec.replica", 2), "spec.build.policy", "Always")

    assert problems_of({**document, "kind": "HPIPipelines"}) == [
        "kind: must be 'HPIPipeline', got 'HPIPipelines'; did you mean 'HPIPipeline'?",
        "spec.build.policy: must be one of ['OnDemand', 'Prebuild', 'Never'], got 'Always'",
        "spec.replica: is not a known field; did you mean 'replicas'?",
    ]


def test_the_parts_of_every_object_are_required() -> None:
    assert problems_of("{}") == [f"{field}: is required" for field in ("apiVersion", "kind", "metadata", "spec")]


@pytest.mark.parametrize(
    ("backend", "ending"),
    [
        ("openvin", "got 'openvin'; did you mean 'openvino'?"),
        ("OpenVINO", "got 'OpenVINO'; did you mean 'openvino'?"),
        ("onnx_runtime", "got 'onnx_runtime'; did you mean 'onnxruntime'?"),
        ("tensor_rt", "got 'tensor_rt'; did you mean 'tensorrt'?"),
        ("ncnn", "got 'ncnn'"),
        ("", "got ''"),
        (5, "got 5"),
        (["openvino"], "got a list"),
    ],
)
def test_an_unknown_backend_is_refused_with_the_known_ones(backend: Any, ending: str) -> None:
    path = "spec.inference.hpiConfig.backend"

    problems = problems_of(with_value(EVERYTHING, path, backend))

    assert problems == [f"{path}: must be one of ['onnxruntime', 'openvino', 'paddle', 'tensorrt', 'om'], {ending}"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "paddle", "tensorrt", "om"])
def test_every_backend_of_this_release_is_accepted(backend: str) -> None:
    spec = checked(with_value(EVERYTHING, "spec.inference.hpiConfig.backend", backend)).spec

    assert spec.inference.hpi_config is not None
    assert spec.inference.hpi_config.to_paddlex() == {"backend": backend}


def test_settings_of_a_backend_reach_paddlex_under_its_own_keys() -> None:
    written = {
        "autoConfig": False,
        "backend": "openvino",
        "backendConfig": {"cpu_num_threads": 2},
        "autoPaddle2onnx": True,
    }

    settings = checked(with_value(EVERYTHING, "spec.inference.hpiConfig", written)).spec.inference.hpi_config

    assert settings is not None
    assert settings.to_paddlex() == {
        "auto_config": False,
        "backend": "openvino",
        "backend_config": {"cpu_num_threads": 2},
        "auto_paddle2onnx": True,
    }


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pipeline": "OCR", "config": {"inline": {}}},
        {"pipeline": "OCR", "module": a_single_module()["spec"]["module"]},
        {"config": {"inline": {}}, "module": a_single_module()["spec"]["module"]},
    ],
    ids=["none", "pipeline and config", "pipeline and module", "config and module"],
)
def test_exactly_one_of_pipeline_config_and_module_is_wanted(given: Document) -> None:
    assert problems_of({**EVERYTHING, "spec": given}) == [
        "spec: exactly one of pipeline, config and module must be set"
    ]


@pytest.mark.parametrize(
    "given",
    [{"pipeline": "OCR"}, {"config": {"inline": an_ocr_config()}}, {"module": a_single_module()["spec"]["module"]}],
    ids=["pipeline", "config", "module"],
)
def test_each_of_pipeline_config_and_module_alone_is_accepted(given: Document) -> None:
    assert checked({**EVERYTHING, "spec": given}).metadata.name == "ocr"


@pytest.mark.parametrize(
    "config",
    [{}, {"inline": {}, "configMapKeyRef": {"name": "a", "key": "b"}}, {"inline": None}],
    ids=["none", "both", "null"],
)
def test_a_config_is_either_inline_or_in_a_config_map(config: Document) -> None:
    assert problems_of(an_ocr_pipeline(config=config)) == [
        "spec.config: exactly one of inline and configMapKeyRef must be set"
    ]


def test_a_module_path_appears_once() -> None:
    modules = [a_module(DETECTION, "det"), a_module("SubModules.B", "b"), a_module(DETECTION, "other")]

    assert problems_of(an_ocr_pipeline(modules=modules)) == [
        "spec.modules: each path must appear once, repeated: ['SubModules.TextDetection']"
    ]


def test_modules_of_a_single_module_are_refused() -> None:
    document = with_value(a_single_module(), "spec.modules", [a_module(DETECTION, "det")])

    assert problems_of(document) == [
        "spec: modules must not be set when module is set: the model's settings stand in module.model"
    ]


def test_replicas_beside_an_autoscaler_are_refused() -> None:
    assert problems_of(an_ocr_pipeline(replicas=2, autoscaling={"maxReplicas": 3})) == [
        "spec: replicas must not be set when autoscaling is set"
    ]


@pytest.mark.parametrize("fields", [{"replicas": 2}, {"autoscaling": {"maxReplicas": 3}}])
def test_replicas_or_an_autoscaler_alone_are_accepted(fields: Document) -> None:
    assert checked(an_ocr_pipeline(**fields)).metadata.name == "ocr"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.replicas", "2", "must be a whole number, got '2'; write it without quotes"),
        ("spec.replicas", 2.0, "must be a whole number, got 2.0"),
        ("spec.replicas", True, "must be a whole number, got True"),
        ("spec.build.timeoutSeconds", "5m", "must be a whole number, got '5m'; write it without quotes"),
        ("spec.build.timeoutSeconds", None, "must be a whole number, got nothing; leave the field out"),
        ("spec.inference.useHpip", "no", "must be true or false, got 'no'; write it without quotes"),
        ("spec.inference.useHpip", 1, "must be true or false, got 1"),
        ("spec.pipeline", 5, "must be text, got 5; write it in quotes"),
        ("metadata.name", False, "must be text, got False; write it in quotes"),
        ("metadata.labels.version", 1.0, "must be text, got 1.0; write it in quotes"),
        ("metadata.labels", ["a"], "must be a mapping, got a list"),
        ("spec", [], "must be a mapping, got a list"),
        ("spec.build", None, "must be a mapping, got nothing; leave the field out"),
        ("spec.placement", "CPU", "must be a mapping, got 'CPU'"),
        ("spec.modules", {}, "must be a list, got a mapping"),
        ("spec.modules[0]", "SubModules.A", "must be a mapping, got 'SubModules.A'"),
        ("spec.modules[0].inference.useHpip", "true", "must be true or false, got 'true'; write it without quotes"),
    ],
)
def test_a_value_of_another_type_is_refused_in_plain_words(path: str, value: Any, words: str) -> None:
    assert problems_of(with_value(EVERYTHING, path, value)) == [f"{path}: {words}"]


@pytest.mark.parametrize("name", ["a", "a0", "a-b", "a" * 63])
def test_the_name_of_a_service_names_a_pipeline(name: str) -> None:
    assert checked(with_value(EVERYTHING, "metadata.name", name)).metadata.name == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", ".a", "a..b", "ä", "a\n"])
def test_what_names_no_object_is_refused_with_what_is_allowed(name: str) -> None:
    assert problems_of(with_value(EVERYTHING, "metadata.name", name)) == [f"metadata.name: {NAME_WORDS}, got {name!r}"]


@pytest.mark.parametrize("name", ["0a", "a.b", "a" * 64])
def test_what_names_no_service_is_refused_with_the_reason(name: str) -> None:
    assert problems_of(with_value(EVERYTHING, "metadata.name", name)) == [SERVICE_WORDS]


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_a_dns_label_names_a_namespace(name: str) -> None:
    assert checked(with_value(EVERYTHING, "metadata.namespace", name)).metadata.namespace == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a.b", "ä", "a\n", "a" * 64])
def test_what_names_no_namespace_is_refused_with_what_is_allowed(name: str) -> None:
    assert problems_of(with_value(EVERYTHING, "metadata.namespace", name)) == [
        f"metadata.namespace: {NAMESPACE_WORDS}, got {name!r}"
    ]


@pytest.mark.parametrize("name", ["a", "PP-OCRv6_small_det", "a.b+c", "a" * 128])
def test_a_model_name_is_accepted(name: str) -> None:
    assert checked(with_model(name=name)).spec.modules[0].model is not None


@pytest.mark.parametrize("name", [".", "-a", "../a", "a/b", "a b", "a\n", "ä"])
def test_what_is_no_model_name_is_refused_with_what_is_allowed(name: str) -> None:
    assert problems_of(with_model(name=name)) == [f"spec.modules[0].model.name: {MODEL_WORDS}, got {name!r}"]
    assert problems_of(an_ocr_pipeline(config=..., pipeline=name)) == [f"spec.pipeline: {MODEL_WORDS}, got {name!r}"]


def test_a_model_name_of_129_characters_is_refused() -> None:
    [problem] = problems_of(with_model(name="a" * 129))

    assert problem.startswith("spec.modules[0].model.name: must have at most 128 characters, got 'aaaa")


def test_an_empty_model_name_is_refused() -> None:
    assert problems_of(with_model(name="")) == ["spec.modules[0].model.name: must not be empty"]


@pytest.mark.parametrize("name", ["", "TextDetection", "text-detection"])
def test_what_is_no_module_name_is_refused_with_what_is_allowed(name: str) -> None:
    assert problems_of(with_value(a_single_module(), "spec.module.name", name)) == [
        f"spec.module.name: {MODULE_WORDS}, got {name!r}"
    ]


@pytest.mark.parametrize(
    "path", ["SubModules.A", "SubPipelines.A.SubModules.B", "SubPipelines.A.SubPipelines.B.SubModules.C_1"]
)
def test_a_module_path_is_accepted(path: str) -> None:
    assert checked(an_ocr_pipeline(modules=[{"path": path}])).spec.modules[0].path == path


@pytest.mark.parametrize(
    "path",
    ["", "A", "SubModules", "SubModules.", "SubModules.A.", "SubModules.A.B", "SubPipelines.A", "SubModules.A\n"],
)
def test_what_is_no_module_path_is_refused_with_examples(path: str) -> None:
    assert problems_of(an_ocr_pipeline(modules=[{"path": path}])) == [
        f"spec.modules[0].path: {PATH_WORDS}, got {path!r}"
    ]


@pytest.mark.parametrize(("length", "accepted"), [(512, True), (513, False)])
def test_a_module_path_has_at_most_512_characters(length: int, accepted: bool) -> None:
    document = an_ocr_pipeline(modules=[{"path": "SubModules.".ljust(length, "a")}])

    if accepted:
        assert len(checked(document).spec.modules[0].path) == length
    else:
        assert problems_of(document)[0].startswith("spec.modules[0].path: must have at most 512 characters, got 'Sub")


@pytest.mark.parametrize(("length", "accepted"), [(2048, True), (2049, False)])
def test_a_source_has_at_most_2048_characters(length: int, accepted: bool) -> None:
    document = with_model(source="file:///".ljust(length, "a"))

    if accepted:
        assert checked(document).spec.modules[0].model is not None
    else:
        [problem] = problems_of(document)
        assert problem.startswith("spec.modules[0].model.source: must have at most 2048 characters, got 'file:///aaa")
        assert problem.endswith("… (2051 characters)")


@pytest.mark.parametrize(("count", "accepted"), [(64, True), (65, False)])
def test_a_pipeline_has_settings_for_at_most_64_modules(count: int, accepted: bool) -> None:
    document = an_ocr_pipeline(modules=[{"path": f"SubModules.M{number}"} for number in range(count)])

    if accepted:
        assert len(checked(document).spec.modules) == count
    else:
        assert problems_of(document) == ["spec.modules: must have at most 64 entries, got 65"]


@pytest.mark.parametrize("device", ["cpu", "gpu", "gpu:0", "gpu:0,12", "custom_npu:3"])
def test_a_device_string_of_paddlex_is_accepted(device: str) -> None:
    assert checked(with_value(EVERYTHING, "spec.inference.device", device)).spec.inference.device == device


@pytest.mark.parametrize("device", ["", "CPU", "gpu:", "gpu:a", "gpu:0,", "gpu 0", "cpu\n"])
def test_what_is_no_device_string_is_refused_with_examples(device: str) -> None:
    assert problems_of(with_value(EVERYTHING, "spec.inference.device", device)) == [
        f"spec.inference.device: {DEVICE_WORDS}, got {device!r}"
    ]


def test_a_digest_of_64_hexadecimal_digits_is_accepted() -> None:
    assert checked(with_model(digest="sha256:" + "0a" * 32)).spec.modules[0].model is not None


@pytest.mark.parametrize("digest", ["", "0a" * 32, "sha256:" + "0A" * 32, "sha256:" + "0" * 63])
def test_what_is_no_digest_is_refused_with_the_form(digest: str) -> None:
    assert problems_of(with_model(digest=digest)) == [f"spec.modules[0].model.digest: {DIGEST_WORDS}, got {digest!r}"]


def test_a_long_value_is_shown_in_part() -> None:
    [problem] = problems_of(with_value(EVERYTHING, "metadata.name", "x" * 100_000))

    assert problem.endswith(f"'{'x' * (MAX_SHOWN_CHARACTERS - 1)}… (100002 characters)")


@pytest.mark.parametrize("field", ["x" * 100_000, "\x1b[31m", "a\nb"], ids=["long", "escape sequence", "line feed"])
def test_a_field_that_would_spoil_a_message_is_shown_harmlessly(field: str) -> None:
    [problem] = problems_of(with_value(EVERYTHING, f"spec.{field.replace('[', '(')}", 1))

    assert problem.isprintable()
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("location", "field"),
    [((), "apiVersion"), (("spec",), "pipeline"), (("spec", "modules", 3, "model"), "digest")],
)
def test_the_known_fields_of_a_place_are_those_of_its_model(location: tuple[int | str, ...], field: str) -> None:
    assert field in known_fields(location)


@pytest.mark.parametrize(
    "location", [("nowhere",), ("spec", "config", "inline"), ("spec", "pipeline"), ("spec", "x", "y")]
)
def test_a_place_without_a_model_has_no_known_fields(location: tuple[int | str, ...]) -> None:
    assert known_fields(location) == []


@pytest.mark.parametrize(
    ("seen", "known", "answer"),
    [
        ("treshold", ["threshold", "x"], "; did you mean 'threshold'?"),
        ("limit_sidelen", ["limit_side_len"], "; did you mean 'limit_side_len'?"),
        ("zzz", ["b", "a"], "; allowed: a, b"),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_known_word_is_offered_or_all_of_them(seen: str, known: list[str], answer: str) -> None:
    assert did_you_mean(seen, known) == answer


def test_words_that_were_listed_already_are_not_listed_again() -> None:
    assert did_you_mean("zzz", ["a", "b"], []) == ""
