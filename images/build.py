#!/usr/bin/env python3
"""Build the images and say what they are: `.venv/bin/python images/build.py`; images/README.md has the rest.

Into the folder --out come, for each image, NAME.tar (OCI archive), NAME.sbom.cdx.json and NAME.sizes.json; and
site.yaml for the chart. A file appears whole or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tomllib  # type: ignore[import-not-found]  # From Python 3.11 on, as is whatever runs this file.

from hpi_core.errors import HpiError, Refused, Stop
from image_build.builders import NAMES as BUILDERS
from image_build.builders import Builder, build_commands, find_builder, push_command, run
from image_build.contents import Contents, read_contents, table_of
from image_build.images import NAMES, RUNTIME, Image, Wish, chosen_images, images_of
from image_build.oci_archive import OciArchive, read_archive
from image_build.site import site_text, site_values
from image_build.wheelhouse import WHEELHOUSE, fill

ROOT: Final = Path(__file__).resolve().parents[1]
BASE: Final = "python:3.11-slim-bookworm"
USER: Final = "10001:10001"
ROWS: Final = 12


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="build.py", description="Build the images of the operator and the agents.")
    parser.add_argument(
        "--image", action="append", default=[], metavar="NAME", help=f"of {', '.join(NAMES)}; default: all"
    )
    parser.add_argument("--builder", choices=BUILDERS, help="default: the first of them on PATH")
    parser.add_argument("--base", default=BASE, help="base image, with Python and venv (default: %(default)s)")
    parser.add_argument("--python", default="3.11", metavar="X.Y", help="Python of the base (default: %(default)s)")
    parser.add_argument(
        "--features", default="ocr,pipelines", help=f"of {RUNTIME}: ocr, pipelines, convert (default: %(default)s)"
    )
    parser.add_argument("--registry", default="localhost", help="what the names begin with (default: %(default)s)")
    parser.add_argument("--wheelhouse", type=Path, metavar="DIR", help="take all wheels from there and ask no index")
    parser.add_argument("--out", type=Path, default=ROOT / "build/images", metavar="DIR", help="default: build/images")
    parser.add_argument("--push", action="store_true", help="send the images to the registry as well")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Build; return the exit code: 0 done, 1 failed, 2 what was asked is not allowed."""
    parsed = parse_arguments(arguments)
    try:
        build(parsed)
    except HpiError as error:
        print(f"images: {error}", file=sys.stderr)
        return 2 if isinstance(error, Refused) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def build(parsed: argparse.Namespace) -> None:
    """Build what the command line says.

    Raises:
        Refused: What was asked is not allowed.
        Stop: A builder failed, or what it built is not what it should be.
    """
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"images: {time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

    features = tuple(one for one in parsed.features.split(",") if one)
    wish = Wish(ROOT / "configs", parsed.base, parsed.python, features, version(), revision())
    images = chosen_images(images_of(wish), parsed.image)
    builder = find_builder(parsed.builder, None)
    lists = dict.fromkeys(path for image in images for path in image.lists)
    fill(ROOT / WHEELHOUSE, lists, wish.python, platform.machine(), parsed.wheelhouse, say)
    parsed.out.mkdir(parents=True, exist_ok=True)
    references, architecture = {}, ""
    for image in images:
        tag = f"{parsed.registry}/{image.name}:{wish.version}"
        say(f"{image.name}, by {builder.name} upon {wish.base} …")
        with tempfile.TemporaryDirectory(prefix=".making-", dir=parsed.out) as making:
            digest, architecture = make(image, builder, tag, Path(making), parsed)
        references[image.name] = f"{parsed.registry}/{image.name}@{digest}"
        say(f"{references[image.name]}")
    if len(images) < len(NAMES):
        say("site.yaml is written when all images are built")
        return
    text = site_text(site_values(references, architecture, images[-1].lock_digest))
    draft = parsed.out / ".site.yaml"
    draft.write_text(text, encoding="utf-8")
    draft.replace(parsed.out / "site.yaml")
    say(f"{parsed.out / 'site.yaml'}:")
    print(text, end="")


def make(image: Image, builder: Builder, tag: str, making: Path, parsed: argparse.Namespace) -> tuple[str, str]:
    """Build one image aside, check it, put its files in their place; return its digest and architecture.

    Raises:
        Stop: A builder failed, or what it built is not what it should be.
    """
    archive_path = making / f"{image.name}.tar"
    for command in build_commands(builder, image, WHEELHOUSE, tag, archive_path):
        run(command, ROOT, os.environ)
    archive = read_archive(archive_path)
    contents = read_contents(archive.added_files())
    check(image, archive, contents)
    (making / f"{image.name}.sbom.cdx.json").write_bytes(contents.sbom)
    weights = {"image": image.name, "bytesBeyondBase": contents.size_bytes, "packages": dict(contents.sizes)}
    (making / f"{image.name}.sizes.json").write_text(json.dumps(weights, indent=1), encoding="utf-8")
    print(f"{image.name}:\n{table_of(contents, ROWS)}", file=sys.stderr)
    digest = archive.digest
    if parsed.push:
        # A registry may be sent other bytes than those of the archive; what it has is what counts.
        digest = push(image, builder, tag, making)
    for path in sorted(making.iterdir()):
        path.replace(parsed.out / path.name)
    return digest, archive.architecture


def push(image: Image, builder: Builder, tag: str, making: Path) -> str:
    """Send one image to its registry; return its digest there.

    Raises:
        Stop: The builder failed.
    """
    told = making / f".{image.name}.pushed"
    run(push_command(builder, image, WHEELHOUSE, tag, told), ROOT, os.environ)
    text = told.read_text(encoding="utf-8").strip()
    told.unlink()
    return str(json.loads(text)["containerimage.digest"]) if builder.name == "docker" else text


def check(image: Image, archive: OciArchive, contents: Contents) -> None:
    """Compare what was built with what was asked for.

    Raises:
        Stop: They differ.
    """
    said = None if contents.plugin is None else contents.plugin.get("lockDigest")
    label = archive.config.get("Labels", {}).get("io.paddlex.hpi.lock-digest")
    expected = (USER, image.lock_digest, image.environment_digest)
    obtained = (archive.config.get("User"), label, said)
    if obtained != expected:
        raise Stop(
            f"{image.name} was built with user, lock and environment {obtained}, asked for was {expected}; has the "
            "base another Python than --python says?"
        )


def version() -> str:
    """Return the version of the project."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def revision() -> str:
    """Return the commit of the sources, with `-modified` where they differ from it; empty outside a repository."""
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"])
    try:
        done = [subprocess.run(one, cwd=ROOT, capture_output=True, text=True, check=True) for one in commands]  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done[0].stdout.strip() + ("-modified" if done[1].stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
