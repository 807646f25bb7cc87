# AVIGATE on MSR-VTT, embedded clips with sound where data_root holds none:
#   python tools/train.py configs/msrvtt_avigate.py
_base_ = [
    "_base_/datasets/msrvtt.py",
    "_base_/models/avigate.py",
    "_base_/schedules/warmup_cosine.py",
    "_base_/runtime/retrieval.py",
]
