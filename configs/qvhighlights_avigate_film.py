# Gated audio, FiLM in the FFN branch:
#   python tools/train.py configs/qvhighlights_avigate_film.py
_base_ = "qvhighlights_avigate.py"
fusion = dict(ffn_gate_film=True)
