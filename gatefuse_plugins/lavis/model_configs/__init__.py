"""YAML model configs of ``blip2_cir_gated``, one a model type; a package so that an installation holds them."""
