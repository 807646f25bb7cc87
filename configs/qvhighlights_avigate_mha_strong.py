# Gated audio, attention gates that start further open:
#   python tools/train.py configs/qvhighlights_avigate_mha_strong.py
_base_ = "qvhighlights_avigate.py"
fusion = dict(mha_gate_bias_init=1.8)
