"""`kubectl-hpi`, which `kubectl hpi` finds by its name."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Final, TextIO

import yaml

from hpi_core.errors import Bug, HpiError, Refused, Stop
from hpi_operator.kubectl.answers import ANSWERS, Answer, Question
from hpi_operator.kubectl.arguments import parser
from hpi_operator.kubectl.look_around import Scope
from hpi_operator.kubectl.reader import AT_ONCE, Reader
from hpi_operator.kubectl.reports.commands import Place
from hpi_operator.kubectl.text.terminal import Style

AGENT: Final = "kubectl-hpi"
NOT_READY: Final = 1
REFUSED: Final = 2
AWAY: Final = 3
FORBIDDEN: Final = 4
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer one question; return the exit code that `arguments.EPILOG` lists."""
    parsed = parser().parse_args(arguments)
    # The library says there which credential plugin failed; all else is said by the errors.
    logging.basicConfig(level=logging.ERROR, format="kubectl hpi: %(message)s", stream=sys.stderr)
    try:
        answer = _answer(parsed)
        _show(answer, parsed.output)
    except Bug:
        raise
    except HpiError as error:
        print(f"kubectl hpi: {error}", file=sys.stderr)
        return REFUSED if isinstance(error, Refused) else FORBIDDEN if isinstance(error, Stop) else AWAY
    except BrokenPipeError:
        # Who reads has seen enough; what the interpreter flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0 if answer.ready else NOT_READY


def _answer(parsed: argparse.Namespace) -> Answer:
    from hpi_operator.kube.api import Api
    from hpi_operator.kube.bucket import Bucket
    from hpi_operator.kube.configuration import person_access
    from hpi_operator.kube.transport import Transport

    if parsed.namespace is not None and parsed.all_namespaces:
        raise Refused("-n and -A exclude one another: -A looks in every namespace")
    access = person_access(parsed.kubeconfig, parsed.context, AT_ONCE)
    transport = Transport(lambda: access.client, AGENT)
    question = Question(
        name=parsed.name,
        scope=Scope(parsed.namespace or access.namespace, parsed.all_namespaces, parsed.operator_namespace),
        place=Place(
            namespace=parsed.namespace or access.namespace,
            operator=parsed.operator_namespace,
            agents=parsed.agent_namespace,
            kubectl=_kubectl(parsed),
        ),
        style=_style(parsed.colour, sys.stdout),
    )
    # Nothing is written, so the bucket is never asked.
    reader = Reader(Api(transport, Bucket(1.0, 1)), access.server)
    with closing(transport):
        return ANSWERS[parsed.command](reader, question)


def _kubectl(parsed: argparse.Namespace) -> str:
    """Return how kubectl is called for the same cluster: what is copied from the answer must not reach another one."""
    flags = [("--kubeconfig", parsed.kubeconfig), ("--context", parsed.context)]
    return shlex.join(["kubectl", *(word for name, value in flags if value for word in (name, value))])


def _style(colour: str, stream: TextIO) -> Style:
    is_terminal = stream.isatty()
    wishes_none = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return Style(
        width=shutil.get_terminal_size().columns if is_terminal else None,
        colour=colour == "always" or (colour == "auto" and is_terminal and not wishes_none),
        ascii="utf" not in (stream.encoding or "").lower(),
    )


def _show(answer: Answer, output: str) -> None:
    if output == "text":
        if answer.lines:
            sys.stdout.write("".join(f"{line}\n" for line in answer.lines))
        else:
            print(answer.nothing, file=sys.stderr)
    else:
        document = answer.report.model_dump(mode="json", by_alias=True, exclude_none=True)
        if output == "json":
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        else:
            sys.stdout.write(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
