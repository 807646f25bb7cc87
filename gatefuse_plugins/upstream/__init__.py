"""Upstream checkouts: patches that let their own scripts use the fusions here, and what those patches call."""
