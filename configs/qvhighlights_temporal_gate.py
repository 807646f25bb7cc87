# QD-DETR with the query-aware temporal gate:
#   python tools/train.py configs/qvhighlights_temporal_gate.py
_base_ = [
    "_base_/datasets/qvhighlights.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(type="QueryAwareTemporalGate")
