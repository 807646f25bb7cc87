# AVIGATE whose attention gates fade with depth, 1 - l / L:
#   python tools/train.py configs/msrvtt_avigate_layer_decay.py
_base_ = "msrvtt_avigate.py"
model = dict(layer_decay="fixed")
