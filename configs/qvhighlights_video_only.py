# QD-DETR without audio:
#   python tools/train.py configs/qvhighlights_video_only.py
_base_ = [
    "_base_/datasets/qvhighlights.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = None
audio_features = None
