# QD-DETR with concatenated audio on one TVSum domain:
#   python tools/train.py configs/tvsum_concat.py
_base_ = [
    "_base_/datasets/tvsum.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(type="Concat")
model = dict(saliency_only=True)
