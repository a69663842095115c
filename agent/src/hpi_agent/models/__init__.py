"""Model files: where they come from, and the model directory that PaddleX wants."""
