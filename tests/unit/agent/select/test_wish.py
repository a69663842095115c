"""What PaddleX's `hpi_config` expresses: settings read as a wish, and everything that is refused."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines import shelf
from hpi_agent.select.backend_config import (
    BACKEND_DEVICES,
    CONFIG_KEYS,
    MAX_CACHE_CAPACITY,
    MAX_THREADS,
    PROVIDERS,
    REFUSED_KEYS,
)
from hpi_agent.select.wish import WISH_KEYS, Wish, check_device, read_wish
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, DEVICE_KINDS, Backend, DeviceKind, Precision

EVERY_BACKEND: Final = "['onnxruntime', 'openvino', 'paddle', 'tensorrt', 'om']"
EVERY_RUN_MODE: Final = "['paddle', 'paddle_fp32', 'paddle_fp16', 'mkldnn', 'mkldnn_bf16', 'trt_fp32', 'trt_fp16']"
SHAPES: Final = [[1, 3, 32, 32], [1, 3, 64, 64], [4, 3, 96, 128]]


def refusal(settings: dict[str, Any]) -> str:
    """Return why settings are refused; the test fails when they are not."""
    with pytest.raises(Refused) as caught:
        read_wish("hpi_config of det", settings)
    return str(caught.value).removeprefix("hpi_config of det: ")


def with_config(backend: Backend | None, **config: Any) -> dict[str, Any]:
    """Return settings with a backend and its own settings."""
    return {"backend": backend, "backend_config": config}


@pytest.mark.parametrize(
    ("settings", "wish"),
    [
        ({}, Wish()),
        ({"backend": None, "auto_config": None, "backend_config": None, "auto_paddle2onnx": None}, Wish()),
        ({"backend": "onnxruntime"}, Wish("onnxruntime")),
        ({"backend": "openvino", "auto_config": True}, Wish("openvino")),
        ({"backend": "openvino", "auto_config": False}, Wish("openvino", exactly=True)),
        ({"backend": "paddle"}, Wish("paddle")),
        ({"backend_config": {"cpu_num_threads": 4}}, Wish(threads=4)),
        ({"backend_config": {}, "auto_paddle2onnx": True}, Wish()),
        ({"auto_paddle2onnx": False}, Wish(conversion_allowed=False)),
        (with_config("paddle", cpu_threads=4, mkldnn_cache_capacity=80), Wish("paddle", threads=4, cache_capacity=80)),
        (with_config("paddle", cpu_threads=4, cpu_num_threads=4), Wish("paddle", threads=4)),
        (with_config("paddle", run_mode=None, cpu_threads=None), Wish("paddle")),
    ],
)
def test_settings_of_paddlex_are_read_as_a_wish(settings: dict[str, Any], wish: Wish) -> None:
    assert read_wish("here", settings) == wish


@pytest.mark.parametrize(
    ("run_mode", "ours", "precision"),
    [
        ("paddle", "paddle", "float32"),
        ("paddle_fp32", "paddle", "float32"),
        ("mkldnn", "mkldnn", "float32"),
        ("mkldnn_bf16", "mkldnn", "bfloat16"),
        ("paddle_fp16", "paddle", "float16"),
        ("trt_fp32", "trt", "float32"),
        ("trt_fp16", "trt", "float16"),
    ],
)
def test_paddles_run_modes_are_a_run_mode_and_a_precision(run_mode: str, ours: str, precision: Precision) -> None:
    wish = read_wish("here", with_config("paddle", run_mode=run_mode))

    assert wish == Wish("paddle", run_mode=ours, precision=precision)


def test_int8_of_paddle_is_refused_with_what_runs_a_quantized_model() -> None:
    assert refusal(with_config("paddle", run_mode="trt_int8")) == (
        "backend_config.run_mode must not be 'trt_int8': it needs a calibration that nobody can give here; a quantized "
        "ONNX model runs on the backend tensorrt with precision int8"
    )


@pytest.mark.parametrize("run_mode", ["onednn", "", 5, True, []])
def test_a_run_mode_that_does_not_exist_is_refused(run_mode: Any) -> None:
    assert refusal(with_config("paddle", run_mode=run_mode)) == (
        f"backend_config.run_mode must be one of {EVERY_RUN_MODE}, got {run_mode!r}"
    )


@pytest.mark.parametrize(("written", "meant"), [("trt_fp_16", "trt_fp16"), ("mkldn", "mkldnn")])
def test_a_mistyped_run_mode_is_refused_with_the_nearest_one(written: str, meant: str) -> None:
    assert refusal(with_config("paddle", run_mode=written)).endswith(f"got {written!r}; did you mean {meant!r}?")


@pytest.mark.parametrize(("written", "precision"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_openvino_is_asked_for_a_precision(written: str, precision: Precision) -> None:
    assert read_wish("here", with_config("openvino", precision=written)) == Wish("openvino", precision=precision)


@pytest.mark.parametrize("written", ["fp16", "int8", "float32", "", 16, []])
def test_a_precision_that_openvino_cannot_be_asked_for_is_refused(written: Any) -> None:
    assert refusal(with_config("openvino", precision=written)) == (
        f"backend_config.precision must be one of ['fp32', 'bf16'], got {written!r}"
    )


@pytest.mark.parametrize(
    ("backend", "written", "precision"),
    [
        ("tensorrt", "fp32", "float32"),
        ("tensorrt", "fp16", "float16"),
        ("tensorrt", "tf32", "tf32"),
        ("tensorrt", "bf16", "bfloat16"),
        ("tensorrt", "int8", "int8"),
        ("onnxruntime", "tf32", "tf32"),
        ("onnxruntime", "fp16", "float16"),
        ("om", "fp16", "float16"),
        ("om", "fp32", "float32"),
    ],
)
def test_backends_of_accelerators_are_asked_for_a_precision(
    backend: Backend, written: str, precision: Precision
) -> None:
    assert read_wish("here", with_config(backend, precision=written)) == Wish(backend, precision=precision)


def test_a_precision_in_other_letters_is_refused_with_the_right_ones() -> None:
    assert refusal(with_config("tensorrt", precision="FP16")).endswith("got 'FP16'; did you mean 'fp16'?")


@pytest.mark.parametrize(("backend", "key"), [("tensorrt", "dynamic_shapes"), ("paddle", "trt_dynamic_shapes")])
def test_shapes_to_compile_for_are_read_and_checked(backend: Backend, key: str) -> None:
    wish = read_wish("here", with_config(backend, **{key: {"y": [[1, 2]] * 3, "x": SHAPES}}))

    x = ((1, 3, 32, 32), (1, 3, 64, 64), (4, 3, 96, 128))
    assert wish == Wish(backend, shapes=(("x", x), ("y", ((1, 2),) * 3)))
    assert refusal(with_config(backend, **{key: {"x": SHAPES[:2]}})).startswith(
        f"backend_config.{key}.x: must be three shapes: smallest, usual, largest, got"
    )


@pytest.mark.parametrize(("backend", "key"), [("tensorrt", "use_dynamic_shapes"), ("paddle", "trt_use_dynamic_shapes")])
def test_engines_are_always_compiled_for_ranges_of_shapes(backend: Backend, key: str) -> None:
    assert read_wish("here", with_config(backend, **{key: True})) == Wish(backend)
    assert refusal(with_config(backend, **{key: False})) == (
        f"backend_config.{key} must be true, got False: engines are compiled for ranges of shapes; one shape given "
        "three times is a fixed one"
    )


def test_shapes_for_tensorrt_belong_to_no_other_run_mode_of_paddle() -> None:
    config = {"trt_dynamic_shapes": {"x": SHAPES}}

    assert read_wish("here", with_config("paddle", run_mode="trt_fp16", **config)).shapes is not None
    assert refusal(with_config("paddle", run_mode="paddle", **config)) == (
        "backend_config.trt_dynamic_shapes belongs to the run modes trt_fp32 and trt_fp16; take the key out"
    )


@pytest.mark.parametrize("key", sorted(REFUSED_KEYS))
def test_a_key_of_paddlex_that_changes_nothing_here_is_refused_with_the_reason(key: str) -> None:
    assert refusal(with_config("paddle", **{key: True})) == (
        f"backend_config.{key} must not be set: {REFUSED_KEYS[key]}; take the key out"
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_onnxruntime_is_asked_for_an_execution_provider(provider: str) -> None:
    assert read_wish("here", with_config("onnxruntime", execution_provider=provider)) == Wish(
        "onnxruntime", execution_provider=provider
    )


def test_an_execution_provider_that_is_not_known_is_refused_with_the_nearest_one() -> None:
    assert refusal(with_config("onnxruntime", execution_provider="TensorRT")).startswith(
        "backend_config.execution_provider must be one of ['cuda', 'tensorrt'], got 'TensorRT'"
    )


def test_the_cuda_provider_computes_in_no_float16_of_its_own() -> None:
    assert "set execution_provider to 'tensorrt'" in refusal(
        with_config("onnxruntime", execution_provider="cuda", precision="fp16")
    )
    assert read_wish("here", with_config("onnxruntime", execution_provider="tensorrt", precision="fp16")).precision


@pytest.mark.parametrize(
    ("key", "smallest", "largest"), [("optimization_level", 0, 5), ("workspace_mebibytes", 1, 2**20)]
)
def test_the_compiler_of_tensorrt_has_settings_with_bounds(key: str, smallest: int, largest: int) -> None:
    for value in (smallest, largest):
        assert getattr(read_wish("here", with_config("tensorrt", **{key: value})), key) == value
    for bad in (smallest - 1, largest + 1, True, "3"):
        assert refusal(with_config("tensorrt", **{key: bad})) == (
            f"backend_config.{key} must be a whole number from {smallest} to {largest}, got {bad!r}"
        )


@pytest.mark.parametrize(
    ("key", "value", "owner"),
    [
        ("cpu_threads", 2, "paddle"),
        ("run_mode", "mkldnn", "paddle"),
        ("mkldnn_cache_capacity", 64, "paddle"),
        ("dynamic_shapes", {"x": SHAPES}, "tensorrt"),
        ("optimization_level", 3, "tensorrt"),
        ("execution_provider", "cuda", "onnxruntime"),
    ],
)
@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_a_setting_of_another_backend_is_refused_with_its_owner(
    key: str, value: Any, owner: Backend, backend: Backend | None
) -> None:
    settings = with_config(backend, **{key: value})

    if backend == owner:
        assert read_wish("here", settings).backend == owner
    else:
        assert refusal(settings) == (
            f"backend_config.{key} belongs to the backend {owner}, and backend is {backend or 'not set'}; "
            f"set backend to {owner}, or take the key out"
        )


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_threads_can_be_set_for_every_backend(backend: Backend | None) -> None:
    assert read_wish("here", with_config(backend, cpu_num_threads=2)).threads == 2


def test_two_names_of_the_threads_that_disagree_are_refused() -> None:
    assert refusal(with_config("paddle", cpu_threads=2, cpu_num_threads=4)) == (
        "backend_config: cpu_num_threads is 4 and cpu_threads is 2; they mean the same, set one"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("backed", "backend"),
        ("autoConfig", "auto_config"),
        ("backend_configs", "backend_config"),
        ("auto_paddle2onx", "auto_paddle2onnx"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_known_one(key: str, meant: str) -> None:
    assert refusal({key: None}) == f"{key!r} is not a known setting; did you mean {meant!r}?"


def test_an_unknown_setting_far_from_all_is_answered_with_the_list() -> None:
    assert refusal({"precision": "fp16"}) == (
        "'precision' is not a known setting; allowed: auto_config, auto_paddle2onnx, backend, backend_config"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("cpu_num_thread", "cpu_num_threads"),
        ("runmode", "run_mode"),
        ("mkldnn_cache_capacities", "mkldnn_cache_capacity"),
    ],
)
def test_an_unknown_backend_setting_is_refused_with_the_nearest_known_one(key: str, meant: str) -> None:
    assert refusal({"backend_config": {key: 2}}) == f"backend_config.{key} is not known; did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("backend", "ending"),
    [
        ("openvin", "got 'openvin'; did you mean 'openvino'?"),
        ("tensort", "got 'tensort'; did you mean 'tensorrt'?"),
        (5, "got 5"),
        ([], "got []"),
    ],
)
def test_an_unknown_backend_is_refused_with_the_known_ones(backend: Any, ending: str) -> None:
    assert refusal({"backend": backend}) == f"backend must be one of {EVERY_BACKEND}, {ending}"


@pytest.mark.parametrize("key", ["auto_config", "auto_paddle2onnx"])
@pytest.mark.parametrize("value", ["false", 0, 1, []])
def test_a_switch_that_is_neither_true_nor_false_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}) == f"{key} must be true or false, got {value!r}"


@pytest.mark.parametrize("value", [5, "cpu_num_threads", [], 0])
def test_backend_settings_that_are_no_mapping_are_refused(value: Any) -> None:
    assert refusal({"backend_config": value}) == f"backend_config must be a mapping, got {value!r}"


@pytest.mark.parametrize(
    ("key", "largest"),
    [("cpu_num_threads", MAX_THREADS), ("cpu_threads", MAX_THREADS), ("mkldnn_cache_capacity", MAX_CACHE_CAPACITY)],
)
def test_a_whole_number_is_taken_at_both_bounds_and_refused_beyond_them(key: str, largest: int) -> None:
    for value in (1, largest):
        wish = read_wish("here", with_config("paddle", **{key: value}))
        assert value in (wish.threads, wish.cache_capacity)

    for bad in (0, largest + 1, -1, True, 2.0, "2", [2]):
        assert refusal(with_config("paddle", **{key: bad})) == (
            f"backend_config.{key} must be a whole number from 1 to {largest}, got {bad!r}"
        )


def test_manual_mode_without_a_backend_is_refused() -> None:
    assert refusal({"auto_config": False}) == "backend must be set when auto_config is false"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["paddle", "openvino", "mkldnn", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*CONFIG_KEYS, "cpu_thread"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*sorted(WISH_KEYS), "backends"]), anything))
def test_whatever_is_written_is_read_or_refused(settings: dict[str, Any]) -> None:
    try:
        said = str(read_wish("here", settings).backend)
    except Refused as refused:
        said = str(refused)

    assert said in ("None", *BACKENDS) or said.startswith("here: ")


def test_two_wishes_that_differ_have_two_json_forms() -> None:
    values: dict[str, Any] = {
        "cpu_num_threads": 2,
        "cpu_threads": 3,
        "run_mode": "mkldnn",
        "mkldnn_cache_capacity": 65,
        "trt_dynamic_shapes": {"x": SHAPES},
        "trt_use_dynamic_shapes": None,
        "precision": "fp16",
        "dynamic_shapes": {"x": SHAPES},
        "use_dynamic_shapes": None,
        "execution_provider": "cuda",
        "workspace_mebibytes": 5,
        "optimization_level": 5,
    }
    owners = {key: owners[-1] for key, owners in CONFIG_KEYS.items() if values[key] is not None}
    wishes = [
        Wish(),
        *(Wish(backend) for backend in BACKENDS),
        Wish("paddle", exactly=True),
        Wish(conversion_allowed=False),
        *(read_wish("here", with_config(owner, **{key: values[key]})) for key, owner in owners.items()),
    ]

    digests = {digest_of_json(wish.to_json()) for wish in wishes}

    assert values.keys() == CONFIG_KEYS.keys()
    assert len(digests) == len(wishes)


def test_the_shelf_hands_on_what_it_was_once_the_home_of() -> None:
    assert (shelf.Wish, shelf.read_wish) == (Wish, read_wish)


def device_refusal(wish: Wish, device: DeviceKind, *, fallback_allowed: bool = True) -> str | None:
    """Return why a device cannot honour a wish, or None."""
    try:
        check_device("here", wish, device, fallback_allowed=fallback_allowed)
    except Refused as refused:
        return str(refused)
    return None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("device", DEVICE_KINDS)
def test_a_backend_is_refused_on_a_device_that_it_does_not_have(backend: Backend, device: DeviceKind) -> None:
    refused = device_refusal(Wish(backend), device, fallback_allowed=False)

    assert (refused is None) is (device in BACKEND_DEVICES[backend])
    assert refused is None or f"the backend {backend} needs the device {BACKEND_DEVICES[backend][0]}" in refused


def test_the_refusal_of_a_device_names_what_to_write() -> None:
    assert device_refusal(Wish("tensorrt"), "cpu") == (
        "here: the backend tensorrt needs the device gpu, and the device is cpu; set spec.inference.device to gpu:0, "
        "or take it out"
    )


def test_onnxruntime_with_an_npu_computes_on_the_processors_where_falling_back_is_allowed() -> None:
    assert device_refusal(Wish("onnxruntime"), "npu") is None
    assert device_refusal(Wish("onnxruntime", exactly=True), "npu") is None
    assert device_refusal(Wish("onnxruntime"), "npu", fallback_allowed=False) is not None
    assert device_refusal(Wish("openvino"), "npu") is not None


@pytest.mark.parametrize(
    ("wish", "device", "what"),
    [
        (Wish("paddle", run_mode="mkldnn"), "gpu", "run mode mkldnn needs the device cpu"),
        (Wish("paddle", run_mode="trt"), "cpu", "run mode trt needs the device gpu"),
        (Wish("paddle", run_mode="trt"), "npu", "run mode trt needs the device gpu"),
        (Wish("paddle", precision="float16", run_mode="paddle"), "cpu", "precision float16 of paddle needs the device"),
        (Wish("onnxruntime", precision="tf32"), "cpu", "precision tf32 of onnxruntime needs the device gpu"),
        (Wish("onnxruntime", execution_provider="cuda"), "cpu", "execution provider cuda needs the device gpu"),
        (Wish("paddle", shapes=()), "cpu", "compilation for dynamic shapes needs the device gpu"),
        (Wish("paddle", cache_capacity=64), "gpu", "mkldnn_cache_capacity needs the device cpu"),
    ],
)
def test_a_setting_of_another_device_is_refused_with_the_device_it_needs(
    wish: Wish, device: DeviceKind, what: str
) -> None:
    assert what in str(device_refusal(wish, device))


def test_what_is_left_open_is_honoured_by_every_device() -> None:
    assert [device_refusal(Wish(threads=2), device) for device in DEVICE_KINDS] == [None, None, None]


def test_a_wish_without_what_came_later_has_the_json_form_that_it_always_had() -> None:
    assert list(Wish().to_json()) == [
        "backend",
        "exactly",
        "threads",
        "precision",
        "runMode",
        "cacheCapacity",
        "conversionAllowed",
    ]
