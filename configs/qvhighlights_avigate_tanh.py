# Gated audio, first generation: tanh gates:
#   python tools/train.py configs/qvhighlights_avigate_tanh.py
_base_ = "qvhighlights_avigate.py"
fusion = dict(generation="tanh")
