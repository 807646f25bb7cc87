# QD-DETR with gated audio on QVHighlights, embedded events where data_root holds none; second generation, global gates:
#   python tools/train.py configs/qvhighlights_avigate.py
_base_ = [
    "_base_/datasets/qvhighlights.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(
    type="AvigateCustomFusion",
    fusion_layers="${profiles.${profile}.fusion_layers}",
    fusion_n_heads="${profiles.${profile}.fusion_n_heads}",
)
