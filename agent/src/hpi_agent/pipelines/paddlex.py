"""PaddleX as the library of pipelines, with our engines in place of its `hpi` engine; the only importer of `paddlex`.

No file of PaddleX is patched and `ultra-infer` is not installed. PaddleX's registry refuses a second engine called
`hpi`, so the entry is taken out and a subclass of the same class takes its place. Two doors ask for ultra-infer: the
engine's `ensure_environment` and the runner's constructor; both are overridden. Everything here is written against one
version of PaddleX and refuses any other; `tests/engines/test_paddlex_contract.py` fails when upstream moves.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_agent.engines.shelf import Shelf, Shelved, Wish, read_wish
from hpi_agent.models.assemble import PLAIN_LOADER, read_inference_yml
from hpi_agent.models.sources.files import INFERENCE_YML
from hpi_agent.pipelines.ctc import OnePassDecode
from hpi_core.errors import Refused, Stop, TooLarge
from hpi_core.formats import DEVICE_KINDS

PADDLEX_VERSION: Final = "3.7.2"

ENGINE_KEYS: Final = {"model_name", "device_type", "device_id", "hpi_info"}
"""Keys that PaddleX itself adds to an engine's settings."""

FONT_VARIABLE: Final = "PADDLE_PDX_LOCAL_FONT_FILE_PATH"
FONT_PACKAGE: Final = "font_source_sans_pro"
"""A wheel with Source Sans Pro (SIL Open Font License 1.1): Latin, Greek and Cyrillic letters."""


def activate(shelf: Shelf, cache_home: Path) -> None:
    """Make PaddleX load every model of its `hpi` engine from a shelf; a second call changes the shelf.

    Args:
        shelf: Loads and keeps the engines.
        cache_home: Folder for what PaddleX writes on import; its default, the home directory, may be read-only.

    Raises:
        Stop: PaddleX is missing or has another version.
    """
    installed = installed_version()
    if installed != PADDLEX_VERSION:
        raise Stop(
            f"this release is written against paddlex {PADDLEX_VERSION}, found {installed or 'none'}; "
            f"install it: pip install 'paddlex[ocr-core]=={PADDLEX_VERSION}'"
        )
    prepare_import(cache_home)
    _take_over(shelf)


def prepare_import(cache_home: Path) -> None:
    """Let PaddleX be imported as it is, with any engine: without a network, a home directory or a desktop's OpenCV.

    Raises:
        Stop: There is no font for the result pictures: PaddleX would download one while it answers a request.
    """
    font = find_font()
    if font is None:
        chosen = os.environ.get(FONT_VARIABLE)
        seen = (
            f"{FONT_VARIABLE} names {chosen!r}, which is no file" if chosen else "font-source-sans-pro is not installed"
        )
        raise Stop(f"PaddleX's result pictures need a font: {seen}; install that package, or name a font file there")
    os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
    os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(cache_home))
    os.environ[FONT_VARIABLE] = str(font)
    _HeadlessOpenCV.install()
    # A filter, because PaddleX sets the level itself when it is imported.
    logging.getLogger("paddlex").addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    # PaddleX tells every model and picture on standard error, in colours; the server tells the same once, in a table.
    return record.levelno >= logging.ERROR


def installed_version() -> str | None:
    """Return the version of PaddleX, or None; PaddleX is not imported."""
    try:
        return importlib.metadata.version("paddlex")
    except importlib.metadata.PackageNotFoundError:
        return None


def registry_config(name: str) -> dict[str, Any] | None:
    """Return the YAML of a pipeline of PaddleX's registry, or None; PaddleX is not imported."""
    spec = importlib.util.find_spec("paddlex")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "configs" / "pipelines"
    path = folder / f"{name}.yaml"
    if path.parent != folder or not path.is_file():
        return None
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config


def find_font() -> Path | None:
    """Return the font for PaddleX's result pictures, or None: the user's, else Source Sans Pro from a wheel.

    Without one PaddleX would download a font while it answers a request.
    """
    chosen = os.environ.get(FONT_VARIABLE)
    if chosen:
        return Path(chosen) if Path(chosen).is_file() else None
    spec = importlib.util.find_spec(FONT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "files" / "SourceSansPro-Regular.ttf"
    return path if path.is_file() else None


def create_pipeline(config: Mapping[str, Any], *, device: str, hpi_config: Mapping[str, Any] | None) -> Any:
    """Return PaddleX's pipeline of a configuration, every model of it on our engines.

    Args:
        config: A pipeline YAML as a dictionary, with `model_dir` set for every model.
        device: PaddleX's device string. It moves nothing: the shelf's engines compute where they were loaded.
        hpi_config: Settings of the whole pipeline, or None for those of the configuration.
    """
    import paddlex

    pipeline = paddlex.create_pipeline(
        config=dict(config), device=device, use_hpip=True, hpi_config=None if hpi_config is None else dict(hpi_config)
    )
    _decode_in_one_pass(pipeline)
    return pipeline


def _decode_in_one_pass(pipeline: Any) -> None:
    from paddlex.inference.models.text_recognition.processors import CTCLabelDecode

    recogniser = getattr(getattr(pipeline, "_pipeline", None), "text_rec_model", None)
    # Exactly this class: a subclass may decode otherwise.
    if recogniser is not None and type(recogniser.post_op) is CTCLabelDecode:
        recogniser.post_op = OnePassDecode(recogniser.post_op)


def create_model(name: str, directory: Path, *, device: str, hpi_config: Mapping[str, Any] | None) -> Any:
    """Return PaddleX's predictor of one model on our engine."""
    import paddlex

    return paddlex.create_model(
        model_name=name,
        model_dir=str(directory),
        device=device,
        use_hpip=True,
        hpi_config=None if hpi_config is None else dict(hpi_config),
    )


def read_pdf(file: bytes, max_pages: int) -> tuple[list[Any], dict[str, Any]]:
    """Return the pages of a PDF as BGR images, rendered by PaddleX itself, and PaddleX's `dataInfo`.

    Raises:
        Refused: The bytes are not a PDF that can be rendered.
        TooLarge: There are more pages than allowed; PaddleX would drop the rest in silence.
    """
    import pypdfium2
    from paddlex.inference.serving.infra import utils as paddlex_files

    try:
        document = pypdfium2.PdfDocument(file)
        pages = len(document)
        document.close()
        if pages > max_pages:
            raise TooLarge(f"the document has {pages} pages; at most {max_pages} are read. Send it in parts")
        images, info = paddlex_files.read_pdf(file)
    except paddlex_files.ImageTooLargeError as error:
        raise TooLarge(str(error)) from None
    except pypdfium2.PdfiumError as error:
        raise Refused(f"the file cannot be read as PDF: {error}") from None
    return images, info.model_dump()


def _take_over(shelf: Shelf) -> None:
    from paddlex.inference.models import _get_inference_engine
    from paddlex.inference.models.engines import InferenceEngine
    from paddlex.inference.utils.io.readers import YAMLReaderBackend

    # PaddleX reads every inference.yml with PyYAML's FullLoader, in Python: 0.6 s for the 18,708 characters of one
    # recogniser, and more than plain data is allowed in the file. This is 0.05 s, and plain data alone.
    YAMLReaderBackend.read_file = _read_plain_yaml
    engines = InferenceEngine.all()
    ours = _engine_class()
    if engines.get("hpi") is not ours:
        engines.pop("hpi", None)
        engines["hpi"] = ours
        # PaddleX remembers engine objects by name; one made before the activation would stay in use.
        _get_inference_engine.cache_clear()
    ours.shelf = shelf


def _read_wish(model_name: str | None, config: Mapping[str, Any]) -> Wish:
    return read_wish(
        f"hpi_config of {model_name}", {key: value for key, value in config.items() if key not in ENGINE_KEYS}
    )


def _read_plain_yaml(_: Any, path: str, **options: Any) -> Any:
    if Path(path).name == INFERENCE_YML:
        # A copy, because PaddleX may change what it is given.
        return copy.deepcopy(read_inference_yml(Path(path)))
    with Path(path).open(encoding="utf-8", **options) as file:
        return yaml.load(file, Loader=PLAIN_LOADER)  # noqa: S506 - a safe loader


@lru_cache(maxsize=1)
def _engine_class() -> Any:
    """Return our subclass of PaddleX's `hpi` engine; made once, because making it registers it."""
    from paddlex.inference.models.engines import InferenceEngine
    from paddlex.inference.models.engines.hpi import HPIEngine
    from paddlex.inference.models.runners.hpi import HPIRunner
    from paddlex.inference.models.runners.utils import sort_inputs

    # The metaclass registers subclasses under `entities` and refuses a name that is taken.
    InferenceEngine.all().pop("hpi", None)

    class Runner(HPIRunner):  # type: ignore[misc]
        """PaddleX's runner of one model, on one of our engines."""

        # The base class' constructor is wrapped to demand ultra-infer, and builds it: it is not called.
        def __init__(self, shelf: Shelf, shelved: Shelved, config: Any) -> None:
            self._model_dir = shelved.directory
            self._model_file_prefix = "inference"
            self._config = config
            self._shelf = shelf
            self._model_name = shelved.model_name
            self._names = [spec.name for spec in shelved.engine.inputs]

        def __call__(self, x: Sequence[Any]) -> list[Any]:
            if len(x) != len(self._names):
                raise ValueError(f"the model takes {len(self._names)} input(s) {self._names}, got {len(x)}")
            feeds = dict(zip(self._names, sort_inputs(x, self._names), strict=True))
            # Looked up at every call: the shelf changes engines between two requests.
            return list(self._shelf.get(self._model_name).infer(feeds).values())

        def close(self) -> None:
            """Leave the engine to the shelf that owns it."""

    class Engine(HPIEngine):  # type: ignore[misc]
        """PaddleX's engine `hpi`, backed by a shelf."""

        entities = "hpi"
        shelf: Shelf

        def ensure_environment(self) -> None:
            """Demand nothing: ultra-infer is not used."""

        def get_supported_model_formats(self) -> tuple[str, ...]:
            return ("onnx", "paddle", "om")

        def validate_config_dict(self, raw: dict[str, Any]) -> dict[str, Any]:
            _read_wish(raw.get("model_name"), raw)
            if raw.get("device_type") not in (None, *DEVICE_KINDS):
                kinds = ", ".join(DEVICE_KINDS)
                raise Refused(f"device {raw['device_type']!r} is not served by this release; allowed: {kinds}")
            validated: dict[str, Any] = super().validate_config_dict(raw)
            return validated

        def get_default_runner_builder(self) -> Any:
            def build(*, model_name: str, model_dir: Path | None, engine_config: dict[str, Any], **_: Any) -> Runner:
                if model_dir is None:
                    raise Refused(f"model {model_name!r} has no model_dir; give it a source")
                shelf = type(self).shelf
                shelved = shelf.put(model_name, Path(model_dir), _read_wish(model_name, engine_config))
                return Runner(shelf, shelved, engine_config)

            return build

        def validate_runner(self, runner: Any) -> None:
            if not isinstance(runner, Runner):
                raise Stop(
                    f"PaddleX built {type(runner).__name__} for its engine hpi; paddlex {PADDLEX_VERSION} is expected"
                )

    return Engine


class _HeadlessOpenCV(importlib.metadata.DistributionFinder):
    """Answers PaddleX's question for `opencv-contrib-python` with the headless build of the same version.

    PaddleX asks for the distribution by name, while both builds provide the same `cv2`; the full one needs libraries of
    a desktop. An answer through Python's own metadata hook leaves PaddleX and the installed files untouched.
    """

    WANTED = "opencv-contrib-python"
    HEADLESS = "opencv-contrib-python-headless"

    @classmethod
    def install(cls) -> None:
        """Answer from now on, unless the full build is installed or the answer is given already."""
        if any(isinstance(finder, cls) for finder in sys.meta_path):
            return
        try:
            importlib.metadata.distribution(cls.WANTED)
        except importlib.metadata.PackageNotFoundError:
            sys.meta_path.append(cls())

    def find_spec(self, *_: Any) -> None:
        """Find no module: this hook only answers questions about metadata."""

    def find_distributions(self, context: Any = None) -> list[importlib.metadata.Distribution]:
        """Return the headless distribution when the full one is asked for."""
        name = getattr(context, "name", None)
        if name is None or name.lower().replace("_", "-") != self.WANTED:
            return []
        try:
            return [importlib.metadata.distribution(self.HEADLESS)]
        except importlib.metadata.PackageNotFoundError:
            return []
