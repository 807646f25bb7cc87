"""Draw ``curves.png`` when training ends."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.engine.curves import draw_curves
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw losses, validation metrics and gates of ``training_log.csv``; without matplotlib, one warning.

    Args:
        log_name: the log in the work dir, as ``CSVLogHook`` writes it.
        filename: the picture's name in the work dir.
    """

    def __init__(self, log_name: str = "training_log.csv", filename: str = "curves.png") -> None:
        self.log_name = log_name
        self.filename = filename

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the picture; drawing is a convenience, so a missing part is reported and never fatal."""
        log = Path(runner.work_dir, self.log_name)
        if not log.is_file():
            runner.logger.warning(f"no {self.filename}: {log} does not exist; add dict(type='gatefuse.CSVLogHook')")
            return
        try:
            draw_curves({runner.experiment_name: log}, Path(runner.work_dir, self.filename))
        except ImportError as error:
            runner.logger.warning(
                f"no {self.filename}: {error.name or 'matplotlib'} is missing; pip install 'gatefuse-plugins[report]'"
            )
