"""`python -m hpi_operator.kubectl.troubleshooting`: print or write the page of every reason, for `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hpi_core.reasons import REASONS, Reason
from hpi_operator.kubectl.reports.commands import LOOK
from hpi_operator.kubectl.reports.pods import STATES
from hpi_operator.kubectl.written_pages import print_or_write

NOTHING: Final = "Nothing."
HEAD: Final = """\
# Troubleshooting

<!-- Made by `make docs` from hpi_core.reasons and hpi_operator.kubectl; a test fails on a difference. -->

    kubectl hpi status -A                # what is wrong comes first
    kubectl hpi why NAME -n NAMESPACE    # from the condition that does not hold down to its cause, with what to do
    kubectl hpi why node/NODE            # the same for a node

Without the plugin: `kubectl describe hpi NAME`; the first condition that is not `True`, in the order Accepted, Placed,
CacheReady, Available, Routed, has the cause, and its reason stands below. Capitals stand for a name; OPERATOR and
AGENTS are the namespaces of operator and agents (`hpi-system`, `hpi-agents`).
"""


def page() -> str:
    """Return the page."""
    known = sorted(REASONS.values(), key=lambda one: one.name)
    acts = [one for one in known if not one.remedy.startswith(NOTHING.rstrip("."))]
    rests = [one for one in known if one.remedy.startswith(NOTHING.rstrip("."))]
    states = sorted(STATES.values(), key=lambda one: one.name)
    return "\n".join(
        [
            HEAD,
            "## Reasons that ask for something",
            "",
            *_rows(acts),
            "",
            "## Reasons that time mends, or that are as wanted",
            "",
            *_rows(rests),
            "",
            "## States of pods",
            "",
            "As `kubectl hpi status NAME` and `kubectl hpi why NAME` word them; others are Kubernetes' own.",
            "",
            *_rows(states),
            "",
        ]
    )


def _rows(reasons: Iterable[Reason]) -> Iterator[str]:
    yield "| reason | what was seen | what to do | look |"
    yield "|---|---|---|---|"
    for one in reasons:
        look = "<br>".join(f"`{command}`" for command in LOOK.get(one.name, ()))
        cells = (f"`{one.name}`", one.meaning, one.remedy, look)
        # A sign of the table inside a cell would end it.
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it to a file."""
    return print_or_write("python -m hpi_operator.kubectl.troubleshooting", __doc__, page, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
