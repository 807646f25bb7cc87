"""Scoped recording of gate taps, and the training hook that watches them."""
