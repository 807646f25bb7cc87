"""Gated multimodal fusion as plugins: audio steers video, text steers images, through learned gates."""

__version__ = "0.1.0"
