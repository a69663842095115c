"""TensorRT's measurements of kernels on one device, kept in a file beside the engines: a second build is shorter.

The file is read where it is there and accepted; after a build it is replaced by rename, together with what others have
written since. It is never needed: what cannot be used is said and left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.sealed_bytes import Unsealed, seal, unseal

KIND: Final = "tensorrt timing cache"
MAX_BYTES: Final = 2**30

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimingCache:
    """One file.

    Attributes:
        path: Where it lies; its folder exists.
        facts: The release of TensorRT and the device, as `seal` takes them: TensorRT refuses measurements of others,
            and nothing that was not digested is handed to it.
    """

    path: Path
    facts: Mapping[str, Any]

    def attach(self, config: Any) -> None:
        """Have a build use the measurements of the file, or none, and collect new ones."""
        content = self._read()
        if content is not None and not self._accepted(config, content):
            self._ignore("TensorRT does not accept it for this device")
            content = None
        if content is None:
            config.set_timing_cache(
                cache=config.create_timing_cache(serialized_timing_cache=b""), ignore_mismatch=False
            )

    def keep(self, config: Any) -> None:
        """Replace the file by the measurements of a build and those that others have written meanwhile."""
        cache = config.get_timing_cache()
        written = self._read()
        if written is not None:
            others = config.create_timing_cache(serialized_timing_cache=written)
            if others is None or not cache.combine(input_cache=others, ignore_mismatch=False):
                self._ignore("TensorRT cannot combine it with new measurements")
        try:
            _replace(self.path, seal(KIND, self.facts, bytes(cache.serialize())))
        except OSError as error:
            log.warning(
                "measurements of kernels cannot be kept; the next build takes as long",
                extra={"file": str(self.path), "reason": error.strerror},
            )

    def _read(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._ignore(error.strerror or type(error).__name__)
            return None
        if len(data) > MAX_BYTES:
            self._ignore(f"it has more than {MAX_BYTES} bytes")
            return None
        try:
            facts, content = unseal(KIND, data)
        except Unsealed as error:
            self._ignore(str(error))
            return None
        if facts != dict(self.facts):
            self._ignore(f"it was measured with {facts}, this is {dict(self.facts)}")
            return None
        return bytes(content)

    def _accepted(self, config: Any, content: bytes) -> bool:
        cache = config.create_timing_cache(serialized_timing_cache=content)
        return cache is not None and bool(config.set_timing_cache(cache=cache, ignore_mismatch=False))

    def _ignore(self, reason: str) -> None:
        log.warning(
            "the timing cache is ignored; every kernel is measured anew",
            extra={"file": str(self.path), "reason": reason},
        )


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
