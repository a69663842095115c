"""What PaddleX's `hpi_config` expresses: settings read as a wish, and everything that is refused."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines import shelf
from hpi_agent.select.wish import CONFIG_KEYS, MAX_CACHE_CAPACITY, MAX_THREADS, WISH_KEYS, Wish, read_wish
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, Backend, Precision

EVERY_BACKEND: Final = "['onnxruntime', 'openvino', 'paddle']"


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
    ],
)
def test_paddles_run_modes_of_a_cpu_are_a_run_mode_and_a_precision(
    run_mode: str, ours: str, precision: Precision
) -> None:
    wish = read_wish("here", with_config("paddle", run_mode=run_mode))

    assert wish == Wish("paddle", run_mode=ours, precision=precision)


@pytest.mark.parametrize("run_mode", ["trt_fp32", "trt_fp16", "trt_int8", "paddle_fp16"])
def test_a_run_mode_of_a_gpu_is_refused_as_such(run_mode: str) -> None:
    assert refusal(with_config("paddle", run_mode=run_mode)) == (
        "backend_config.run_mode must be one of ['paddle', 'paddle_fp32', 'mkldnn', 'mkldnn_bf16'] on a CPU, "
        f"got {run_mode!r}; that one needs a GPU"
    )


@pytest.mark.parametrize("run_mode", ["onednn", "", 5, True, []])
def test_a_run_mode_that_does_not_exist_is_refused(run_mode: Any) -> None:
    assert refusal(with_config("paddle", run_mode=run_mode)) == (
        "backend_config.run_mode must be one of ['paddle', 'paddle_fp32', 'mkldnn', 'mkldnn_bf16'] on a CPU, "
        f"got {run_mode!r}"
    )


@pytest.mark.parametrize(("written", "precision"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_openvino_is_asked_for_a_precision(written: str, precision: Precision) -> None:
    assert read_wish("here", with_config("openvino", precision=written)) == Wish("openvino", precision=precision)


@pytest.mark.parametrize("written", ["fp16", "int8", "float32", "", 16, []])
def test_a_precision_that_openvino_cannot_be_asked_for_is_refused(written: Any) -> None:
    assert refusal(with_config("openvino", precision=written)) == (
        f"backend_config.precision must be one of ['fp32', 'bf16'], got {written!r}"
    )


@pytest.mark.parametrize(
    ("key", "value", "owner"),
    [
        ("cpu_threads", 2, "paddle"),
        ("run_mode", "mkldnn", "paddle"),
        ("mkldnn_cache_capacity", 64, "paddle"),
        ("precision", "bf16", "openvino"),
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
        ("tensorrt", "got 'tensorrt'"),
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
        "precision": "bf16",
    }
    owners = {key: owners[-1] for key, owners in CONFIG_KEYS.items()}
    wishes = [
        Wish(),
        *(Wish(backend) for backend in BACKENDS),
        Wish("paddle", exactly=True),
        Wish(conversion_allowed=False),
        *(read_wish("here", with_config(owners[key], **{key: value})) for key, value in values.items()),
    ]

    digests = {digest_of_json(wish.to_json()) for wish in wishes}

    assert values.keys() == CONFIG_KEYS.keys()
    assert len(digests) == len(wishes)


def test_the_shelf_hands_on_what_it_was_once_the_home_of() -> None:
    assert (shelf.Wish, shelf.read_wish) == (Wish, read_wish)
