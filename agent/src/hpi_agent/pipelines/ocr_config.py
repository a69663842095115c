"""The YAML of PaddleX's OCR pipeline: the keys it reads, the models it builds, what is wrong with one (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hpi_core.spelling import did_you_mean

JsonObject = dict[str, Any]

SELECTORS: Final = frozenset({"use_hpip", "hpi_config", "engine", "engine_config"})
"""Keys that choose and set up an engine, allowed at every level of a pipeline's YAML."""

MODEL_KEYS: Final = frozenset({"module_name", "model_name", "model_dir", "batch_size"}) | SELECTORS

KNOWN_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(
        {
            "pipeline_name",
            "text_type",
            "use_doc_preprocessor",
            "use_textline_orientation",
            "batch_size",
            "SubModules",
            "SubPipelines",
            "Serving",
        }
    )
    | SELECTORS,
    "SubModules": frozenset({"TextDetection", "TextRecognition", "TextLineOrientation"}),
    "SubModules.TextDetection": MODEL_KEYS
    | {"limit_side_len", "limit_type", "max_side_limit", "thresh", "box_thresh", "unclip_ratio", "input_shape"},
    "SubModules.TextRecognition": MODEL_KEYS | {"score_thresh", "return_word_box", "input_shape"},
    "SubModules.TextLineOrientation": MODEL_KEYS,
    "SubPipelines": frozenset({"DocPreprocessor"}),
    "SubPipelines.DocPreprocessor": frozenset(
        {"pipeline_name", "use_doc_orientation_classify", "use_doc_unwarping", "batch_size", "SubModules"}
    )
    | SELECTORS,
    "SubPipelines.DocPreprocessor.SubModules": frozenset({"DocOrientationClassify", "DocUnwarping"}),
    "SubPipelines.DocPreprocessor.SubModules.DocOrientationClassify": MODEL_KEYS,
    "SubPipelines.DocPreprocessor.SubModules.DocUnwarping": MODEL_KEYS,
    "Serving": frozenset({"visualize"}),
}
"""What PaddleX's OCR pipeline reads of its YAML (paddlex 3.7.2, `inference/pipelines/ocr/pipeline.py` and
`doc_preprocessor/pipeline.py`). PaddleX drops every other key in silence; here it is an error."""

SWITCHES: Final[Mapping[str, str]] = {
    "SubModules.TextLineOrientation": "use_textline_orientation",
    "SubPipelines.DocPreprocessor": "use_doc_preprocessor",
    "SubPipelines.DocPreprocessor.SubModules.DocOrientationClassify": "use_doc_orientation_classify",
    "SubPipelines.DocPreprocessor.SubModules.DocUnwarping": "use_doc_unwarping",
}
"""Parts of the OCR pipeline that are built only when a switch of their parent says so (PaddleX's default: true)."""

TEXT_TYPES: Final = ("general", "seal")


def part_at(config: JsonObject, path: str) -> JsonObject:
    """Return the mapping at a dotted path.

    Raises:
        KeyError: There is none.
    """
    here: Any = config
    for part in path.split("."):
        here = here[part]
        if not isinstance(here, dict):
            raise KeyError(path)
    inner: JsonObject = here
    return inner


def _walk(tree: JsonObject, path: str = "") -> Iterator[tuple[str, JsonObject]]:
    yield path, tree
    for key, value in tree.items():
        inner = f"{path}.{key}" if path else key
        if inner in KNOWN_KEYS and isinstance(value, dict):
            yield from _walk(value, inner)


def walk_models(config: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Yield path and settings of every model, whether a switch leaves it out or not."""
    return ((path, tree) for path, tree in _walk(config) if "model_name" in KNOWN_KEYS.get(path, ()))


def find_unknown(config: JsonObject) -> Iterator[str]:
    """Yield every key and value that PaddleX would drop in silence or this release cannot honour."""
    for path, tree in _walk(config):
        known = KNOWN_KEYS[path]
        for key, value in tree.items():
            place = f"config {path}.{key}" if path else f"config {key}"
            if key not in known:
                yield f"{place}: is not a key of PaddleX's OCR pipeline{did_you_mean(key, sorted(known))}"
            elif f"{path}.{key}".lstrip(".") in KNOWN_KEYS and not isinstance(value, dict):
                yield f"{place}: must be a mapping, got {type(value).__name__}"
        yield from _check_selectors(tree, f"config {path}." if path else "config ")


def find_missing(config: JsonObject) -> Iterator[str]:
    """Yield what PaddleX needs and does not find; it would fail with words about its own code."""
    if config.get("text_type") not in TEXT_TYPES:
        yield f"config text_type: must be one of {list(TEXT_TYPES)}, got {config.get('text_type')!r}"
    for path in (path for path, known in KNOWN_KEYS.items() if "model_name" in known):
        try:
            if switched_off_by(config, path) is None:
                part_at(config, path)
        except KeyError:
            switches = [switch for place, switch in SWITCHES.items() if f"{path}.".startswith(f"{place}.")]
            unless = f", unless {' or '.join(switches)} is false" if switches else ""
            yield f"config: PaddleX's OCR pipeline needs {path}{unless}"


def _check_selectors(tree: JsonObject, place: str) -> Iterator[str]:
    # PaddleX asks for the truth of what stands there, so null, 0 and '' would switch it off as well.
    if tree.get("use_hpip", True) is not True:
        yield (
            f"{place}use_hpip: must be true or absent, got {tree['use_hpip']!r}: this release serves every model by "
            "high-performance inference"
        )
    if tree.get("engine") not in (None, "hpi"):
        yield f"{place}engine: must be 'hpi' or absent in this release, got {tree['engine']!r}"
    if tree.get("engine_config") is not None:
        yield f"{place}engine_config: is not used in this release; write the settings under hpi_config"
    if not isinstance(tree.get("hpi_config", {}), dict | None):
        yield f"{place}hpi_config: must be a mapping, got {type(tree['hpi_config']).__name__}"
    for switch in (*SWITCHES.values(), "visualize"):
        if not isinstance(tree.get(switch, True), bool):
            yield f"{place}{switch}: must be true or false, got {tree[switch]!r}"


def switched_off_by(config: JsonObject, path: str) -> str | None:
    """Return the switch above a model because of which PaddleX does not build it, or None: it is built."""
    parts = path.split(".")
    for end in range(2, len(parts) + 1, 2):
        switch = SWITCHES.get(".".join(parts[:end]))
        parent = part_at(config, ".".join(parts[: end - 2])) if end > 2 else config
        if switch is not None and parent.get(switch, True) is False:
            return switch
    return None
