# QD-DETR with gated audio on one TVSum domain (all ten: see docs/qd_detr.md):
#   python tools/train.py configs/tvsum_avigate.py
_base_ = [
    "_base_/datasets/tvsum.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(
    type="AvigateCustomFusion",
    fusion_layers="${profiles.${profile}.fusion_layers}",
    fusion_n_heads="${profiles.${profile}.fusion_n_heads}",
)
model = dict(saliency_only=True)
