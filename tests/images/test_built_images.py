"""The images as they are built: what is in them, what is not, and what runs in them as a pod would run it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_core.errors import Refused
from image_build.oci_archive import read_archive
from models.paddle_models import paddle_model
from support.building import manifest_of
from support.image_builds.built import BuiltImages, built_images
from support.image_builds.unpacked import GIVEN, Unpacked, unpack
from support.project import ROOT

pytestmark = pytest.mark.e2e

NAMES = ("hpi-operator", "hpi-agent", "hpi-cpu")
MEGABYTES = 10**6
LIMITS = {"hpi-operator": 150 * MEGABYTES, "hpi-agent": 250 * MEGABYTES, "hpi-cpu": 1100 * MEGABYTES}
"""Beyond the base, unpacked; of the runtime without the environment that converts."""
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "make", "ld", "as", "pip", "pip3", "uv", "git", "curl", "wget")
each_image = pytest.mark.parametrize("name", NAMES)
ENTRIES = {"hpi-operator": ["hpi-operator"], "hpi-agent": ["hpi-agent"], "hpi-cpu": ["hpi-agent"]}
STORE = {"HPI_STORE": "/tmp/store"}


def say(line: str) -> None:
    print(line, flush=True)


@pytest.fixture(scope="module")
def built() -> BuiltImages:
    try:
        return built_images(say)
    except Refused as refusal:
        pytest.skip(str(refusal))


@pytest.fixture(scope="module")
def unpacked(built: BuiltImages, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unpacked]:
    folder = tmp_path_factory.mktemp("roots")
    return {name: unpack(built.archive(name), folder / name) for name in NAMES}


def files_of(image: Unpacked) -> Iterator[Path]:
    """Yield every file of an image that is no link, without the base's pseudo file systems."""
    for folder, _, names in os.walk(image.root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file():
                yield path


@each_image
def test_an_image_names_its_user_its_program_and_what_it_is(name: str, unpacked: dict[str, Unpacked]) -> None:
    config = unpacked[name].archive.config

    labels = config["Labels"]
    assert (config["User"], config["Entrypoint"]) == ("10001:10001", ENTRIES[name])
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["io.paddlex.hpi.lock-digest"].startswith("sha256:")
    assert not [label for label in labels if label.endswith("source")]


@each_image
def test_nobody_becomes_another_user_in_an_image(name: str, unpacked: dict[str, Unpacked]) -> None:
    risen = [path for path in files_of(unpacked[name]) if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]

    assert risen == []


@each_image
def test_the_user_of_an_image_has_a_name_and_owns_nothing(name: str, unpacked: dict[str, Unpacked]) -> None:
    image = unpacked[name]

    owned = [path for path in files_of(image) if path.stat().st_uid == 10001]

    assert "hpi:x:10001:10001:" in (image.root / "etc/passwd").read_text()
    assert owned == []


@each_image
def test_an_image_has_no_compiler_no_installer_and_no_cache(name: str, unpacked: dict[str, Unpacked]) -> None:
    root = unpacked[name].root

    programs = [
        root / folder / one for folder in ("usr/bin", "usr/local/bin", "opt/hpi/environment/bin") for one in COMPILERS
    ]
    caches = [
        path for path in (root / "root/.cache", root / "tmp", root / "build") if path.exists() and any(path.iterdir())
    ]
    lists = [path for path in (root / "var/lib/apt/lists").glob("*") if path.is_file()]
    installers = [
        path.name for path in root.glob("opt/hpi/**/site-packages/*") if path.name in ("pip", "uv", "hatchling")
    ]
    assert ([path for path in programs if path.exists()], caches, lists, installers) == ([], [], [], [])


@each_image
def test_an_image_holds_the_commands_of_its_role_alone(name: str, unpacked: dict[str, Unpacked]) -> None:
    commands = {path.name for path in (unpacked[name].root / "opt/hpi/environment/bin").iterdir()}

    own = {"hpi-operator", "kubectl-hpi"} if name == "hpi-operator" else {"hpi-agent"}
    assert {one for one in commands if not one.startswith("python")} == own


@each_image
def test_an_image_has_no_trace_of_where_packages_came_from(name: str, built: BuiltImages) -> None:
    named = [
        value for key, value in os.environ.items() if key.upper() in ("PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY")
    ]
    markers = [b"build/images/wheelhouse", b"/build/wheels", *(value.encode() for value in named)]

    found = [
        (file.path, marker)
        for file in read_archive(built.archive(name)).added_files()
        if not file.path.endswith((".so", ".pyc", ".onnx"))
        for content in (file.read(),)
        for marker in markers
        if marker in content
    ]

    assert found == []


@each_image
def test_every_module_of_an_image_is_compiled_and_never_compared_with_its_source(
    name: str, unpacked: dict[str, Unpacked]
) -> None:
    root = unpacked[name].root / "opt/hpi/environment"
    sources = [path for path in root.rglob("hpi_*/**/*.py") if "configs" not in path.parts]

    compiled = [path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" for path in sources]

    assert len(sources) > 100
    assert [path for path in compiled if not path.is_file()] == []
    # The flags after the magic number: hashed, not compared with the source (PEP 552).
    assert [path for path in root.rglob("*.pyc") if path.read_bytes()[4:8] != b"\x01\x00\x00\x00"] == []


@each_image
def test_an_image_weighs_no_more_than_it_may(name: str, built: BuiltImages) -> None:
    sizes = built.document(name, "sizes")["packages"]

    converter = sum(size for package, size in sizes.items() if package.startswith(("converter: ", "/opt/hpi/plugins")))
    total = built.document(name, "sizes")["bytesBeyondBase"] - converter
    print(f"{name}: {total / MEGABYTES:.1f} MB beyond the base, and {converter / MEGABYTES:.1f} MB of the converter")
    assert total <= LIMITS[name]


@each_image
def test_the_list_of_parts_has_the_base_python_and_every_package(name: str, built: BuiltImages) -> None:
    purls = {one.get("purl", one["name"]) for one in built.document(name, "sbom.cdx")["components"]}

    assert "python" in purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)
    expected = {"hpi-operator": "kopf", "hpi-agent": "uvicorn", "hpi-cpu": "openvino"}[name]
    assert any(purl.startswith(f"pkg:pypi/{expected}@") for purl in purls)
    assert any(purl.startswith("pkg:pypi/hpi@") for purl in purls)


def test_the_chart_is_told_what_was_built(built: BuiltImages, unpacked: dict[str, Unpacked]) -> None:
    values = built.values()

    assert values["operator"]["image"] == f"localhost/hpi-operator@{unpacked['hpi-operator'].archive.digest}"
    assert values["agent"]["image"] == f"localhost/hpi-agent@{unpacked['hpi-agent'].archive.digest}"
    runtime, image = values["runtimes"]["hpi-cpu"], unpacked["hpi-cpu"].archive
    assert runtime["images"] == {image.architecture: f"localhost/hpi-cpu@{image.digest}"}
    assert runtime["lockDigest"] == image.config["Labels"]["io.paddlex.hpi.lock-digest"]


@pytest.mark.parametrize(
    ("name", "program"), [("hpi-operator", "hpi-operator"), ("hpi-operator", "kubectl-hpi"), ("hpi-agent", "hpi-agent")]
)
def test_the_programs_of_an_image_start_on_a_read_only_root(
    name: str, program: str, unpacked: dict[str, Unpacked]
) -> None:
    done = unpacked[name].run(program, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: " in done.stdout


def test_the_user_of_a_pod_can_write_nowhere_but_where_volumes_are(unpacked: dict[str, Unpacked]) -> None:
    script = "for place in / /opt/hpi /var/lib /tmp; do touch $place/x 2>/dev/null && echo $place; done; id -u; true"

    done = unpacked["hpi-cpu"].run("sh", "-c", script)

    assert done.stdout.split() == ["/tmp", "10001"]


def test_every_backend_of_the_runtime_passes_its_self_test(unpacked: dict[str, Unpacked]) -> None:
    done = unpacked["hpi-cpu"].run(
        "hpi-agent", "self-test", "--backend", "onnxruntime", "--backend", "openvino", variables=STORE
    )

    assert (done.returncode, done.stdout.count("works: ")) == (0, 2), done.stdout + done.stderr


def test_the_runtime_tells_its_engines_which_environment_they_are_built_in(unpacked: dict[str, Unpacked]) -> None:
    code = "from hpi_agent.building.site import _plugin; print(_plugin()['variant'])"

    done = unpacked["hpi-cpu"].run("/opt/hpi/environment/bin/python", "-c", code)

    assert done.stdout.strip() == "hpi-cpu", done.stderr


def test_models_of_ocr_are_built_and_measured_in_the_runtime(unpacked: dict[str, Unpacked]) -> None:
    manifest = f"{GIVEN}/ocr.yaml"

    done = unpacked["hpi-cpu"].run(
        "hpi-agent", "build", "-f", manifest, given=ROOT / "configs" / "pipelines", variables=STORE
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PP-OCRv6_small_rec" in done.stderr


def test_a_model_in_paddles_format_is_converted_on_a_read_only_root(
    unpacked: dict[str, Unpacked], tmp_path: Path
) -> None:
    paddle_model("tiny", tmp_path / "model")
    model = f"{GIVEN}/model"
    name = next(
        line.split(":")[1].strip()
        for line in (tmp_path / "model/inference.yml").read_text().splitlines()
        if "model_name" in line
    )
    (tmp_path / "manifest.json").write_text(manifest_of(Path(model), name))
    # pytest's folders are this user's alone.
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    done = unpacked["hpi-cpu"].run(
        "hpi-agent", "build", "-f", f"{GIVEN}/manifest.json", given=tmp_path, variables=STORE
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "convert" in done.stderr


def test_an_agent_without_engines_says_what_it_lacks(unpacked: dict[str, Unpacked]) -> None:
    given = ROOT / "configs" / "pipelines"

    done = unpacked["hpi-agent"].run("hpi-agent", "serve", "-f", f"{GIVEN}/ocr.yaml", given=given, variables=STORE)

    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "there is no installed Python package 'rapidocr'" in done.stderr


def test_two_builds_of_the_same_sources_give_the_same_operator(built: BuiltImages, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]

    first, second = (built_images(say, out=folder, anew=True, only=("hpi-operator",)) for folder in folders)

    digests = {read_archive(images.archive("hpi-operator")).digest for images in (first, second)}
    assert len(digests) == 1
