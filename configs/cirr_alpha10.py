# Ablation, alpha starts at 1.0.
#   python tools/train.py configs/cirr_alpha10.py
_base_ = "cirr_gated.py"
fusion = dict(alpha_init=1.0)
