"""Vision encoders: modules with ``num_features``, ``num_tokens``, ``image_size`` and images -> tokens."""
