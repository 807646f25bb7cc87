"""Recording of gate taps: scoped recorder, statistics, storage, logs, interventions, and hooks that watch gates."""

from gatefuse_plugins.recording.gate_log_hook import GateLogHook
from gatefuse_plugins.recording.gate_profile import profile_gates
from gatefuse_plugins.recording.intervene import intervene
from gatefuse_plugins.recording.interventions import Intervention, Mean, Neutral, Open
from gatefuse_plugins.recording.jsonlines import GateLogEntry, read_gate_log
from gatefuse_plugins.recording.recorder import find_taps, record_gates
from gatefuse_plugins.recording.recording import GateRecording
from gatefuse_plugins.recording.shuffles import ShuffleSamples, ShuffleTime
from gatefuse_plugins.recording.sinks import GateSink
from gatefuse_plugins.recording.statistics import SampleStatistics, TapStatistics
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.store_reader import GateStore
from gatefuse_plugins.recording.tracking import GateTracker
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

__all__ = [
    "GateLogEntry",
    "GateLogHook",
    "GateRecording",
    "GateSink",
    "GateStore",
    "GateStoreWriter",
    "GateTracker",
    "Intervention",
    "Mean",
    "Neutral",
    "Open",
    "SampleStatistics",
    "ShuffleSamples",
    "ShuffleTime",
    "TapStatistics",
    "TapValues",
    "ValuesSink",
    "find_taps",
    "intervene",
    "profile_gates",
    "read_gate_log",
    "record_gates",
]
