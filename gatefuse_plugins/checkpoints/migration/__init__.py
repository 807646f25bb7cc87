"""Checkpoints of other models and versions become checkpoints of this project's models, and back.

``make_plan`` computes what would be done, ``migrate`` does it, ``compare_files`` proves it; ``load_from_any`` does the
same in memory for a live model.
"""

from gatefuse_plugins.checkpoints.migration.changed import changed_options
from gatefuse_plugins.checkpoints.migration.comparison import Comparison
from gatefuse_plugins.checkpoints.migration.execute import Result, migrate
from gatefuse_plugins.checkpoints.migration.gate_files import export_gates, import_gates
from gatefuse_plugins.checkpoints.migration.guide import guide
from gatefuse_plugins.checkpoints.migration.inspection import Inspection, inspect
from gatefuse_plugins.checkpoints.migration.load import load_from_any
from gatefuse_plugins.checkpoints.migration.plan import Plan, Row, make_plan
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.migration.upstream import to_upstream
from gatefuse_plugins.checkpoints.migration.verify import compare_files

__all__ = [
    "Comparison",
    "Inspection",
    "Plan",
    "Result",
    "Row",
    "Source",
    "changed_options",
    "compare_files",
    "export_gates",
    "guide",
    "import_gates",
    "inspect",
    "load_from_any",
    "make_plan",
    "migrate",
    "open_source",
    "to_upstream",
]
