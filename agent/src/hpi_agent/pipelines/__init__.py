"""Pipelines: the effective settings of one HPIPipeline, and PaddleX as the library that runs them."""
