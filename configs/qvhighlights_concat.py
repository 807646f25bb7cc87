# QD-DETR with audio concatenated to video, upstream's way:
#   python tools/train.py configs/qvhighlights_concat.py
_base_ = [
    "_base_/datasets/qvhighlights.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(type="Concat")
