"""What a site says about sources of models, and what a pipeline says about one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpi_agent.models.sources.limits import DEFAULT_LIMITS, DEFAULT_TOTAL_BYTES, Limits
from hpi_agent.models.sources.patience import DEFAULT_PATIENCE, DEFAULT_TIMEOUTS, Patience, Timeouts
from hpi_agent.store.size import bytes_of
from hpi_core.errors import Refused

DEFAULT_CLAIMS: Final = Path("/var/lib/hpi/claims")

ENDPOINT_VARIABLES: Final = {"hf": "HPI_HF_ENDPOINT", "modelscope": "HPI_MODELSCOPE_ENDPOINT", "s3": "HPI_S3_ENDPOINT"}


@dataclass(frozen=True)
class SourceSettings:
    """What a site says about sources, whatever the pipeline."""

    credentials: Path | None = None
    """Folder with one sub-folder for each Secret."""
    claims: Path | None = DEFAULT_CLAIMS
    """Folder below which claims are mounted."""
    limits: Limits = DEFAULT_LIMITS
    patience: Patience = DEFAULT_PATIENCE
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Address of the service behind a scheme, where the pipeline names none: a mirror of a hub, say."""

    @classmethod
    def read(
        cls, environment: Mapping[str, str], credentials: Path | None = None, claims: Path | None = None
    ) -> SourceSettings:
        """Return the settings of a command: its arguments, else `$HPI_CREDENTIALS` and `$HPI_CLAIMS`.

        `$HPI_SOURCE_MAX_BYTES` bounds the bytes of one source; `$HPI_HF_ENDPOINT`, `$HPI_MODELSCOPE_ENDPOINT` and
        `$HPI_S3_ENDPOINT` name services where the pipeline names none.

        Raises:
            Refused: A variable holds no size.
        """
        stated = environment.get("HPI_CREDENTIALS")
        text = environment.get("HPI_SOURCE_MAX_BYTES")
        try:
            limits = Limits(bytes_of(text) if text else DEFAULT_TOTAL_BYTES)
        except Refused as error:
            raise Refused(f"$HPI_SOURCE_MAX_BYTES: {error}") from error
        return cls(
            credentials or (Path(stated) if stated else None),
            claims or Path(environment.get("HPI_CLAIMS") or DEFAULT_CLAIMS),
            limits,
            endpoints={
                scheme: address for scheme, name in ENDPOINT_VARIABLES.items() if (address := environment.get(name))
            },
        )


DEFAULT_SETTINGS: Final = SourceSettings()


@dataclass(frozen=True)
class SourceRequest:
    """What a pipeline says about one source."""

    source: str = field(repr=False)
    """The address as it is written; its query may be a signature."""
    endpoint: str | None = None
    """Address of the service behind `s3://` or a hub, or None: the public one."""
    credentials: str | None = None
    """Name of a Secret."""
    digest: str | None = None
    """`sha256:<hex>` that the model must have, or None."""
