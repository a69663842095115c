"""PaddleX's own basic server on its own `onnxruntime` engine, as a program: `CONFIG_JSON CACHE_HOME THREADS`.

The side to compare with. Of ours it uses only what lets PaddleX run without a desktop's OpenCV and without a network:
the metadata answer for the headless build, and one local font.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    """Serve until killed; print `LISTENING URL` when the port is open."""
    from hpi_agent.pipelines import paddlex as ours

    config, cache, threads = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    ours.prepare_import(Path(cache))

    import uvicorn
    from paddlex import create_pipeline
    from paddlex.inference.serving.basic_serving import create_pipeline_app

    pipeline = create_pipeline(
        config=config,
        device="cpu",
        engine="onnxruntime",
        engine_config={"intra_op_num_threads": threads, "inter_op_num_threads": 1},
    )
    app = create_pipeline_app(pipeline, config)
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"LISTENING http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
