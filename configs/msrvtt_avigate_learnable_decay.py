# AVIGATE whose attention gates fade with depth as far as it learns:
#   python tools/train.py configs/msrvtt_avigate_learnable_decay.py
_base_ = "msrvtt_avigate.py"
model = dict(layer_decay="learnable")
