# Gated audio with FiLM on one TVSum domain:
#   python tools/train.py configs/tvsum_avigate_film.py
_base_ = "tvsum_avigate.py"
fusion = dict(ffn_gate_film=True)
