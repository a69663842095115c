"""What was done when, how long it took, and what was seen: printed while it happens, a table and JSON at the end."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Step:
    """One step."""

    name: str
    begun_seconds: float
    """Since the beginning of the whole."""
    seconds: float = 0.0
    seen: dict[str, Any] = field(default_factory=dict)
    """What it found, by words that stand in the table."""
    failed: bool = False

    def tell(self, **seen: Any) -> None:
        """Keep what was seen, and print it."""
        self.seen.update(seen)
        for name, value in seen.items():
            print(f"            {name.replace('_', ' ')}: {value}", flush=True)


class Timeline:
    """All steps, in order."""

    def __init__(self) -> None:
        """Begin now."""
        self._begun = time.monotonic()
        self.steps: list[Step] = []

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step; one that fails is kept as failed."""
        step = Step(name, self.seconds)
        self.steps.append(step)
        print(f"{step.begun_seconds:8.1f} s  {name}", flush=True)
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        finally:
            step.seconds = self.seconds - step.begun_seconds
            how = "FAILED after" if step.failed else "took"
            print(f"            {how} {step.seconds:.1f} s", flush=True)

    def table(self) -> str:
        """Return the table for people."""
        width = max(len(step.name) for step in self.steps) if self.steps else 0
        lines = [f"{'at, s':>8}  {'took, s':>8}  {'step':<{width}}  seen"]
        for step in self.steps:
            seen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in step.seen.items())
            failed = "FAILED " if step.failed else ""
            row = f"{step.begun_seconds:8.1f}  {step.seconds:8.1f}  {step.name:<{width}}  {failed}{seen}"
            lines.append(row.rstrip())
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write the steps as JSON, by rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = [
            {
                "name": step.name,
                "begunSeconds": round(step.begun_seconds, 1),
                "seconds": round(step.seconds, 1),
                "failed": step.failed,
                "seen": step.seen,
            }
            for step in self.steps
        ]
        aside = path.with_name(f".{path.name}")
        aside.write_text(json.dumps({"steps": steps}, indent=2, default=str) + "\n", encoding="utf-8")
        aside.rename(path)
