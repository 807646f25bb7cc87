"""mmengine's Runner, with the data set's name at the top of the log file and without its longest listing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from gatefuse_plugins import registry
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.registry import SCOPE

# mmengine imports SCOPE.registry to fill a scope, and warns of `None.registry` where the package has another name.
sys.modules.setdefault(f"{SCOPE}.registry", registry)


def notices(identity: Mapping[str, Any], kind: str) -> tuple[int, list[str]]:
    """Log level and lines that tell which data a run's figures are about.

    Args:
        identity: the data set's ``metainfo['identity']``.
        kind: the benchmark that the config asks for.
    """
    lines = [f"dataset: {identity['name']}, split {identity['split']}, digest {identity['digest']}"]
    if not identity["embedded"]:
        return logging.INFO, lines
    lines.append(f"figures of this run are figures of {identity['name']}, not of {kind}; set data_root to the real set")
    return logging.WARNING, lines


class AnnouncingRunner(Runner):
    """A Runner whose log file begins with :func:`notices`, ahead of environment and config."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """Open the log and write the notices of ``cfg.dataset_identity`` into the file; ``prepare`` has shown them."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        if identity := self.cfg.get("dataset_identity"):
            level, lines = notices(identity, self.cfg.get("dataset", "the benchmark"))
            files = [one for one in logger.handlers if isinstance(one, logging.FileHandler) and level >= one.level]
            for line in lines:
                record = logger.makeRecord(logger.name, level, __file__, 0, line, (), None)
                for handler in files:
                    handler.handle(record)
        return logger

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """mmengine's, with an error that names the schedule where one of its phases would have no step."""
        try:
            return super().build_param_scheduler(scheduler)
        except ZeroDivisionError as error:
            raise ConfigError(
                f"param_scheduler: a phase of the schedule would last 0 of {self.max_iters} steps ({scheduler}); "
                "expected more: raise max_epochs, or change pct_start (pct_start x steps must exceed 1)"
            ) from error

    def get_hooks_info(self) -> str:
        """The hooks in the order of their priority, on one line (mmengine lists them once for every stage)."""
        return " > ".join(type(hook).__name__ for hook in self.hooks)
