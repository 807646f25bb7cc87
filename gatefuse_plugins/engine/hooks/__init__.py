"""Runner hooks, one duty each; importing this package registers them all in ``HOOKS``."""

from gatefuse_plugins.engine.hooks.checkpoint import SafeCheckpointHook
from gatefuse_plugins.engine.hooks.csv_log import CSVLogHook
from gatefuse_plugins.engine.hooks.curves import CurvesHook
from gatefuse_plugins.engine.hooks.final_test import FinalTestHook
from gatefuse_plugins.engine.hooks.metrics_file import MetricsFileHook
from gatefuse_plugins.engine.hooks.non_finite_loss import NonFiniteLossHook
from gatefuse_plugins.engine.hooks.progress import ProgressHook
from gatefuse_plugins.engine.hooks.report import ReportHook
from gatefuse_plugins.engine.hooks.step_seed import StepSeedHook
from gatefuse_plugins.engine.hooks.vision_stamp import VisionStampHook

__all__ = [
    "CSVLogHook",
    "CurvesHook",
    "FinalTestHook",
    "MetricsFileHook",
    "NonFiniteLossHook",
    "ProgressHook",
    "ReportHook",
    "SafeCheckpointHook",
    "StepSeedHook",
    "VisionStampHook",
]
