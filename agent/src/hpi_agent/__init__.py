"""The hands of the project: detects hardware, holds engines and serves inference on one node."""
