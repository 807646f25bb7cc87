# Ablation, alpha starts at 0.1.
#   python tools/train.py configs/cirr_alpha01.py
_base_ = "cirr_gated.py"
fusion = dict(alpha_init=0.1)
