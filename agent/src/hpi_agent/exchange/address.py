"""Where a pod finds the agent of its node, and the token by which the agent knows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_agent.exchange.token_file import read_token
from hpi_core.errors import Refused
from hpi_core.names import ENV_AGENT, ENV_AGENT_TOKEN

# The operator writes http://$(HOST_IP):8470; an address of IPv6 has no brackets then.
_URL: Final = re.compile(r"http://(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.:-]+)):([0-9]{1,5})/?")


@dataclass(frozen=True)
class AgentAddress:
    """One agent, as its pods find it."""

    host: str
    port: int
    token_file: Path
    """Written anew by the kubelet before the token expires."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> AgentAddress | None:
        """Return the agent that the environment names, or None: there is none.

        Raises:
            Refused: It is named by half.
        """
        url = environment.get(ENV_AGENT, "")
        if not url:
            return None
        matched = _URL.fullmatch(url)
        if matched is None or not 0 < int(matched[3]) <= 65_535:
            raise Refused(f"${ENV_AGENT} must be http://ADDRESS:PORT, got {url!r}")
        token_file = environment.get(ENV_AGENT_TOKEN, "")
        if not token_file:
            raise Refused(f"${ENV_AGENT} is set and ${ENV_AGENT_TOKEN} is not; name the file with the pod's token")
        return cls(matched[1] or matched[2], int(matched[3]), Path(token_file))

    def token(self) -> str:
        """Return the token as it is now.

        Raises:
            Refused: The file cannot be read, or holds none.
        """
        return read_token(self.token_file)

    def __str__(self) -> str:
        """Return the address for people."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"
