"""The exception tree of the project; a class says who acts next.

    HpiError
    ├── Refused    the caller: what was asked is not allowed; asking again unchanged gives the same answer
    │   ├── InvalidManifest   a manifest that does not say what it must
    │   └── TooLarge          a size or count over a stated limit
    ├── Retry      nobody: the same call may succeed later
    │   └── Overloaded        a bounded queue is full; carries the seconds to wait
    ├── Stop       an operator: nothing improves until something outside the program changes
    │   ├── EngineFailed      a runtime could not load or run a model
    │   │   └── ChildFailed   … because its process crashed, hung or took too much (hpi_agent.processes)
    │   ├── Damaged           an entry of the store is not what was published (hpi_agent.store)
    │   └── SourceFailed      a model source could not deliver
    └── Bug        us: a promise inside the program does not hold

Every text says what was seen, what is allowed and what to do.
"""

from __future__ import annotations


class HpiError(Exception):
    """Base of every error that this project raises on purpose."""


class Refused(HpiError):
    """What was asked is not allowed; the caller has to ask for something else."""


class InvalidManifest(Refused):
    """A manifest is malformed, has an unknown field or a value outside its bounds.

    Attributes:
        problems: One line per problem, each beginning with the path of the field.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        super().__init__("\n".join([f"{where}: {len(problems)} problem(s)", *(f"  {line}" for line in problems)]))


class TooLarge(Refused):
    """A size or a count exceeds a stated limit."""


class Retry(HpiError):
    """The same call may succeed later, unchanged."""


class Overloaded(Retry):
    """A bounded queue is full.

    Attributes:
        retry_after_seconds: When a place is expected to be free; at least 1.
    """

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        self.retry_after_seconds = max(1, retry_after_seconds)
        super().__init__(message)


class Stop(HpiError):
    """Nothing improves until something outside the program changes; a person has to look."""


class EngineFailed(Stop):
    """An inference runtime could not load or run a model."""


class SourceFailed(Stop):
    """A model source could not deliver what was asked for."""


class Bug(HpiError):
    """A promise inside the program does not hold; nothing outside it is at fault."""
