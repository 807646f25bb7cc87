"""Recording of gate taps: scoped recorder, statistics, storage, logs, and the hooks that watch gates."""

from gatefuse_plugins.recording.gate_analyzer import GateAnalyzer
from gatefuse_plugins.recording.gate_log_hook import GateLogHook
from gatefuse_plugins.recording.jsonlines import GateLogEntry, read_gate_log
from gatefuse_plugins.recording.recorder import find_taps, record_gates
from gatefuse_plugins.recording.recording import GateRecording
from gatefuse_plugins.recording.sinks import GateSink
from gatefuse_plugins.recording.statistics import SampleStatistics, TapStatistics
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.store_reader import GateStore
from gatefuse_plugins.recording.tracking import GateTracker
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

__all__ = [
    "GateAnalyzer",
    "GateLogEntry",
    "GateLogHook",
    "GateRecording",
    "GateSink",
    "GateStore",
    "GateStoreWriter",
    "GateTracker",
    "SampleStatistics",
    "TapStatistics",
    "TapValues",
    "ValuesSink",
    "find_taps",
    "read_gate_log",
    "record_gates",
]
