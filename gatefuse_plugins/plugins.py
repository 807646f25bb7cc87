"""Imports everything that registers itself, for ``custom_imports = dict(imports=['gatefuse_plugins.plugins'])``.

The LAVIS registration is apart, in ``gatefuse_plugins.lavis``, since it needs lavis.
"""

from __future__ import annotations

import gatefuse_plugins.analysis.gate_map_hook
import gatefuse_plugins.analysis.gates.entropy
import gatefuse_plugins.data
import gatefuse_plugins.engine.file_backend
import gatefuse_plugins.engine.hooks
import gatefuse_plugins.engine.loop
import gatefuse_plugins.engine.sections
import gatefuse_plugins.evaluation
import gatefuse_plugins.fusions
import gatefuse_plugins.gates
import gatefuse_plugins.hosts.avigate
import gatefuse_plugins.hosts.avigate.encoders
import gatefuse_plugins.hosts.blip2_cir
import gatefuse_plugins.hosts.qd_detr
import gatefuse_plugins.injection
import gatefuse_plugins.recording.gate_correlations
import gatefuse_plugins.recording.gate_log_hook
import gatefuse_plugins.recording.monitor_hook
import gatefuse_plugins.recording.off_topic  # noqa: F401
