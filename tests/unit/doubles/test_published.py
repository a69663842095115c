"""The doubles have the names and the parameters that the runtimes publish, and no others."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import pytest

from doubles import acl_mdl, acl_module, acl_rt, ascend_runtimes, cuda_calls, nvidia_runtimes
from support.published import differences, read_release, releases_of


def double_of_tensorrt() -> Any:
    with nvidia_runtimes.presented():
        return importlib.import_module("tensorrt")


def double_of_cuda() -> Any:
    return SimpleNamespace(**{name: thing for name, thing in vars(cuda_calls).items() if name.startswith("cuda")})


def double_of_acl() -> Any:
    with ascend_runtimes.presented():
        acl = importlib.import_module("acl")
    named = {name: getattr(acl, name) for name in acl.__all__ if name not in ("mdl", "rt")}
    for part in ("mdl", "rt"):
        named |= {f"{part}.{name}": thing for name, thing in vars(getattr(acl, part)).items()}
    return SimpleNamespace(**named)


@pytest.mark.parametrize("release", releases_of("tensorrt"), ids=lambda path: path.stem)
def test_the_double_of_tensorrt_has_what_a_release_publishes(release: Path) -> None:
    # The engine asks for this one only where it is.
    newer = {"tensorrt-10.0.1": ["ICudaEngine.device_memory_size_v2 is a property, published is nothing"]}

    assert differences(double_of_tensorrt(), read_release(release)) == newer.get(release.stem, [])


@pytest.mark.parametrize("release", releases_of("cuda"), ids=lambda path: path.stem)
def test_the_double_of_cuda_has_what_a_release_publishes(release: Path) -> None:
    assert differences(double_of_cuda(), read_release(release)) == []


def test_the_double_of_acl_has_what_is_published_and_takes_positions_alone() -> None:
    [release] = releases_of("acl")

    assert differences(double_of_acl(), read_release(release), positions_alone=True) == []


def test_both_ends_of_tensorrt_10_and_four_releases_of_cuda_are_recorded() -> None:
    names = [path.stem for runtime in ("tensorrt", "cuda") for path in releases_of(runtime)]

    assert names == ["tensorrt-10.0.1", "tensorrt-10.16.1.11", *(f"cuda-{one}" for one in CUDA_RELEASES)]


CUDA_RELEASES = ("11.8.3", "12.6.0", "12.9.10", "13.5.0")


def renamed(function: Callable[..., Any], parameter: str) -> FunctionType:
    """Return a function that calls one of its parameters otherwise."""
    assert isinstance(function, FunctionType)
    code: CodeType = function.__code__
    names = tuple("otherwise" if name == parameter else name for name in code.co_varnames)
    assert names != code.co_varnames
    return FunctionType(
        code.replace(co_varnames=names),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


@pytest.mark.parametrize(
    ("owner", "method", "parameter"),
    [
        ("IBuilderConfig", "set_memory_pool_limit", "pool_size"),
        ("IBuilderConfig", "set_timing_cache", "ignore_mismatch"),
        ("IBuilderConfig", "create_timing_cache", "serialized_timing_cache"),
        ("IOptimizationProfile", "set_shape", "opt"),
        ("IExecutionContext", "set_tensor_address", "memory"),
        ("IExecutionContext", "execute_async_v3", "stream_handle"),
        ("Runtime", "deserialize_cuda_engine", "serialized_engine"),
        ("OnnxParser", "parse", "model"),
        ("ITimingCache", "combine", "input_cache"),
        ("Builder", "create_network", "flags"),
    ],
)
def test_a_renamed_argument_of_the_double_of_tensorrt_is_noticed(
    owner: str, method: str, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, release = double_of_tensorrt(), read_release(releases_of("tensorrt")[-1])
    found = getattr(double, owner)
    monkeypatch.setattr(found, method, renamed(getattr(found, method), parameter))

    [difference] = differences(double, release)

    assert difference.startswith(f"{owner}.{method}(")
    assert "otherwise" in difference


@pytest.mark.parametrize(
    ("name", "parameter"), [("cudaMalloc", "size"), ("cudaMemcpyAsync", "kind"), ("cudaFree", "devPtr")]
)
def test_a_renamed_argument_of_the_double_of_cuda_is_noticed(name: str, parameter: str) -> None:
    double = SimpleNamespace(**{name: renamed(getattr(cuda_calls, name), parameter)})

    [difference] = differences(double, read_release(releases_of("cuda")[-1]))

    assert difference.startswith(f"{name}(")


@pytest.mark.parametrize(
    ("name", "function", "parameter"),
    [
        ("rt.memcpy", acl_rt.memcpy, "dest_max"),
        ("mdl.execute", acl_mdl.execute, "input"),
        ("create_data_buffer", acl_module.create_data_buffer, "size"),
    ],
)
def test_a_renamed_argument_of_the_double_of_acl_is_noticed(
    name: str, function: Callable[..., Any], parameter: str
) -> None:
    [release] = releases_of("acl")

    [difference] = differences(SimpleNamespace(**{name: renamed(function, parameter)}), read_release(release))

    assert difference.startswith(f"{name}(")


def test_a_call_that_is_not_published_is_noticed() -> None:
    def cudaMallocNicely(size: int) -> None: ...

    [difference] = differences(SimpleNamespace(cudaMallocNicely=cudaMallocNicely), read_release(releases_of("cuda")[0]))

    assert difference == "cudaMallocNicely(size), published is None"


@pytest.mark.parametrize("name", ["tensorrt", "cuda", "acl"])
def test_without_being_presented_no_double_can_be_imported(name: str) -> None:
    found = importlib.util.find_spec(name)

    places = [] if found is None else [found.origin or "", *(found.submodule_search_locations or [])]
    assert not [place for place in places if "doubles" in Path(place).parts]


@pytest.mark.parametrize(
    ("name", "presented"),
    [("tensorrt", nvidia_runtimes.presented), ("cuda", nvidia_runtimes.presented), ("acl", ascend_runtimes.presented)],
)
def test_while_it_is_presented_the_double_is_what_is_found(name: str, presented: Callable[[], Any]) -> None:
    with presented():
        found = importlib.util.find_spec(name)

    assert found is not None
    assert any(
        "doubles" in Path(place).parts for place in [found.origin or "", *(found.submodule_search_locations or [])]
    )
