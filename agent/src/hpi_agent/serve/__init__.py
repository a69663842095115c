"""Serving: what arrives over HTTP, checked and decoded, and what goes back."""
