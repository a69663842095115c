"""The change from one engine to a better one: whatever is published in the store is taken up between two requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.shelf import Choice, Chooser
from hpi_agent.pipelines.canary import prove_engine
from hpi_agent.select.wish import Wish
from hpi_agent.serve.served import Served
from hpi_core.errors import EngineFailed, HpiError

log: Final = logging.getLogger("hpi.worker")

LOOK_SECONDS: Final = 1.0
"""Pause between two looks at the store; each is one `stat` a model."""

Stamp = tuple[int, int, int] | None


@dataclass
class ChangeOver:
    """Follows the decisions of the models that a worker serves.

    A decision is one small file, replaced by rename: whoever writes it, a builder beside the server or somebody's
    `hpi-agent build`, its inode changes. The engine that serves goes on until the new one is loaded and has answered.

    Attributes:
        served: The worker's models.
        tell: Receives `engines` (with the new description) or `kept` (with the reason).
    """

    served: Served
    tell: Callable[[dict[str, Any]], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    _seen: dict[str, Stamp] = field(init=False)

    def __post_init__(self) -> None:
        self._seen = dict(self.served.stamps)
        self.served.shelf.choose = decided_alone(self.served.shelf.choose)

    def run(self) -> None:
        """Look until `stopped` is set."""
        while not self.stopped.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                # Whatever is wrong with the store now may be right at the next look; what serves is in memory.
                log.exception("the store could not be looked at; the engines that serve stay")

    def look(self) -> None:
        """Take up what has changed since the last look."""
        for item in self.served.shelf:
            if item.decision_key is None:
                continue
            stamp = self.served.store.decision_stamp(item.decision_key)
            if stamp == self._seen.get(item.model_name):
                continue
            self._seen[item.model_name] = stamp
            # A decision that went away (a store that was deleted) changes nothing: what serves is in memory.
            if stamp is not None:
                self._renew(item.model_name)

    def _renew(self, model_name: str) -> None:
        try:
            renewed = self.served.shelf.renew(model_name, prove_engine)
        except HpiError as error:
            log.warning("model %s keeps its engine: %s", model_name, error)
            self.tell({"event": "kept", "model": model_name, "reason": str(error)})
        except Exception:
            log.exception("model %s keeps its engine: the change-over failed unexpectedly", model_name)
            self.tell({"event": "kept", "model": model_name, "reason": "the change-over failed; see the worker's log"})
        else:
            if renewed is not None:
                self.tell({"event": "engines", "changed": model_name, **self.served.describe()})


def decided_alone(choose: Chooser) -> Chooser:
    """Return a chooser that offers what was decided and nothing that stands in for it.

    A worker that starts takes the first engine that loads. One that serves already has an engine: it gives that one up
    for a decided one alone, never because the decided one could not be loaded or the decision not be read.
    """

    def chosen(model_name: str, directory: Path, wish: Wish) -> Choice:
        choice = choose(model_name, directory, wish)
        if choice.state == "Unmeasured":
            raise EngineFailed(
                f"model {model_name!r}: the decision {choice.decision_key} is damaged, of another release or not "
                "verified under this driver; `hpi-agent build` makes it again"
            )
        return replace(choice, attempts=choice.attempts[:1])

    return chosen
