"""What a person sees: the output of the commands that they would type."""

from __future__ import annotations

from pathlib import Path

from first_light.stage import Stage

COMMANDS = (
    ("kubectl", "get", "hpi", "-o", "wide"),
    ("kubectl", "get", "hpinodes,hpiruntimes,hpinodepools", "-o", "wide"),
    ("kubectl", "get", "hpiengines", "-A"),
    ("kubectl", "get", "pods", "-A", "-o", "wide"),
    ("kubectl", "get", "events", "-A", "--sort-by=.lastTimestamp"),
    ("kubectl", "hpi", "status", "ocr"),
    ("kubectl", "hpi", "explain", "ocr"),
    ("kubectl", "hpi", "nodes"),
)


def sights(stage: Stage) -> str:
    """Return commands and what they print."""
    return "\n".join(f"$ {' '.join(command)}\n{_output(stage, command).rstrip()}\n" for command in COMMANDS)


def write(stage: Stage, path: Path) -> None:
    """Write them to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sights(stage), encoding="utf-8")


def _output(stage: Stage, command: tuple[str, ...]) -> str:
    try:
        return stage.kubectl_hpi(*command[2:]) if command[1] == "hpi" else stage.kubectl(*command[1:])
    except AssertionError as error:
        return f"({error})"


def trouble(stage: Stage) -> str:
    """Return what one looks at when a step has failed: objects, events, and the last lines of every pod."""
    found = [sights(stage)]
    for pod in stage.get("pods", "-A")["items"]:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        for container in pod["spec"]["containers"]:
            for words in (("--previous",), ()):
                logs = ("logs", "-n", namespace, name, "-c", container["name"], "--tail=60", *words)
                found.append(f"$ kubectl {' '.join(logs)}\n{_output(stage, ('kubectl', *logs))}")
    found.append(_output(stage, ("kubectl", "get", "hpi,hpinodes,hpiruntimes,hpiengines", "-A", "-o", "yaml")))
    found.append(_output(stage, ("kubectl", "describe", "pods", "-A")))
    return "\n".join(found)
