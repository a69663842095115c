"""Paddle models → ONNX, in a child process of a locked environment, checked against Paddle before publication."""
