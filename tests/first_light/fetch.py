"""Print what an address inside the cluster's network answers: `python -m first_light.fetch URL [JSON to send]`."""

from __future__ import annotations

import sys
import urllib.request

if __name__ == "__main__":
    body = sys.argv[2].encode() if len(sys.argv) > 2 else None
    request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        sys.stdout.write(answer.read().decode())
