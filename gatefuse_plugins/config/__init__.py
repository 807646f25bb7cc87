"""Load, resolve and validate configs. Knows the registries, no component."""

from gatefuse_plugins.config.loading import load_config
from gatefuse_plugins.config.rules import dimension_rule, section_rule
from gatefuse_plugins.config.validation import validate_config

__all__ = ["dimension_rule", "load_config", "section_rule", "validate_config"]
