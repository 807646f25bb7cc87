# Gated audio, one gate a clip and channel:
#   python tools/train.py configs/qvhighlights_avigate_elementwise.py
_base_ = "qvhighlights_avigate.py"
fusion = dict(gating_type="elementwise")
