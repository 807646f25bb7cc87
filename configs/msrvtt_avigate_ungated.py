# AVIGATE without attention and FFN gates:
#   python tools/train.py configs/msrvtt_avigate_ungated.py
_base_ = "msrvtt_avigate.py"
model = dict(gating=False)
