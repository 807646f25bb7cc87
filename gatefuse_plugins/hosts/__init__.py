"""Hosts: models that carry a fusion."""
