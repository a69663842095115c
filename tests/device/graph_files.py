"""Write the tiny graphs as files, for machines without the package `onnx`.

Run as `PYTHONPATH=tests python -m device.graph_files`; a test compares them with the graphs.
"""

from __future__ import annotations

from models.graphs import FILES, MODELS


def main() -> None:
    """Write all of them anew."""
    FILES.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        model.save(FILES)


if __name__ == "__main__":
    main()
