"""Registers the hosts that checkpoints are migrated to."""

import gatefuse_plugins.plugins  # noqa: F401
