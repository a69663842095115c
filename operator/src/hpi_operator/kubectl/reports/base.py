"""What every report has, and the parts that several share."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict

from hpi_core.api.base import ApiModel

REPORT_VERSION: Final = "report.hpi.paddlex.io/v1"
"""Version of the form of all reports: fields are added to it, none is renamed or removed."""

ReportVersion = Literal["report.hpi.paddlex.io/v1"]


class Report(ApiModel):
    """A part of a report: camelCase as JSON, and made here by the names of its fields."""

    model_config = ConfigDict(populate_by_name=True)


class Observed(Report):
    """One condition of an object, as its writer left it."""

    type: str
    """What is observed."""
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str = ""
    """One word."""
    message: str = ""
    """For people."""
    since: str = ""
    """When the status last changed. RFC 3339."""


class Summary(Report):
    """Whether an object is ready, and why."""

    status: Literal["True", "False", "Unknown"]
    """Unknown: nobody has looked yet."""
    reason: str = ""
    """One word, explained in operator/TROUBLESHOOTING.md."""
    message: str = ""
    """For people."""
    since: str = ""
    """When the status last changed. RFC 3339."""


class Counts(Report):
    """Pods by how their engines came to be."""

    measured: int = 0
    """On engines that were chosen by measurement."""
    provisional: int = 0
    """On engines that were measured under load of others."""
    fallback: int = 0
    """On another engine than the first choice."""
    building: int = 0
    """On the engine that loads first, while better ones are built."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.measured + self.provisional + self.fallback + self.building


class Failure(Report):
    """The last failure that is on record."""

    reason: str
    """One word."""
    message: str = ""
    """What happened."""
    time: str = ""
    """When. RFC 3339."""
    pod: str | None = None
    """Name of the pod."""
    container: str | None = None
    """Name of the container."""
    exit_code: int | None = None
    """Exit code of the container."""
    revision: str | None = None
    """The revision that failed."""
