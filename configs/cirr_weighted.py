# Ablation, g (I + d) + (1 - g) I: the gated residual with alpha fixed at 1.
#   python tools/train.py configs/cirr_weighted.py
_base_ = "cirr_gated.py"
fusion = dict(strategy="weighted")
