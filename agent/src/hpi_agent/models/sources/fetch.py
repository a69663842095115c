"""Any source → its files on this machine. What is needed to fetch is imported only where something is fetched."""

from __future__ import annotations

from hpi_agent.models.sources.fetched import Check, Fetched, Tell, tell_nobody
from hpi_agent.models.sources.local import SCHEMES, locate
from hpi_agent.models.sources.settings import SourceRequest, SourceSettings
from hpi_agent.store.directory import Store


def fetch(
    request: SourceRequest, settings: SourceSettings, store: Store, *, check: Check, tell: Tell = tell_nobody
) -> Fetched:
    """Return the files of a source on this machine; what is fetched lies in the store.

    Args:
        request: Which source.
        settings: What the site says.
        store: Where fetched files are kept.
        check: Returns the digest of a fetched model; raises Refused when it is not the one wanted.
        tell: Receives the progress.

    Raises:
        Refused: The address must not be read, or the model is not the one wanted.
        SourceFailed: The source cannot deliver, or has no model.
        Stop: The store cannot be written.
    """
    if request.source.partition("://")[0] in SCHEMES:
        return Fetched(locate(request.source, settings.claims))
    from hpi_agent.models.sources.download import Download
    from hpi_agent.models.sources.origins import open_origin

    origin = open_origin(request, settings)
    return Download(origin, store, check, request.digest, settings.limits, settings.patience, tell).run()
