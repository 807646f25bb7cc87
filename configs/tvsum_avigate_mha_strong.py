# Gated audio, attention gates that start further open, on one TVSum domain:
#   python tools/train.py configs/tvsum_avigate_mha_strong.py
_base_ = "tvsum_avigate.py"
fusion = dict(mha_gate_bias_init=1.8)
