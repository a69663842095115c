"""Run a variant's self-test inside its environment, with nothing of this program's around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from hpi_agent.plugins import clean_environment
from hpi_agent.plugins.recipe import Recipe
from hpi_agent.plugins.step import failed_step, run_step
from hpi_core.errors import Stop

MAX_REPORT_BYTES: Final = 64 * 1024


def run_self_test(directory: Path, scratch: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the report of the self-test.

    Args:
        directory: The environment.
        scratch: Folder that the test may write to; its home.
        recipe: What the environment was made of.

    Raises:
        Stop: It failed or took too long; its last lines are in the text.
    """
    variant, report = recipe.variant, scratch / "report.json"
    # -B: the tree is finished; what Python would compile now is in no manifest.
    command = [str(directory / "bin" / "python"), "-I", "-B", str(variant.self_test), str(report)]
    environment = clean_environment.for_self_test(recipe.environment, scratch)
    ended = run_step(command, environment=environment, folder=scratch, seconds=variant.self_test_seconds)
    if not ended.passed:
        raise failed_step(f"the self-test of {variant.name}", ended, variant.self_test_seconds, scratch)
    try:
        with report.open("rb") as file:
            document = json.loads(file.read(MAX_REPORT_BYTES))
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise Stop(f"the self-test of {variant.name} ended with 0, but its report cannot be read: {error}") from error
    return document
