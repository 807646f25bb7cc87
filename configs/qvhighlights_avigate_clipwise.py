# Gated audio, one gate a clip:
#   python tools/train.py configs/qvhighlights_avigate_clipwise.py
_base_ = "qvhighlights_avigate.py"
fusion = dict(gating_type="clipwise")
