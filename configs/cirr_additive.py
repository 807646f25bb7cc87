# Ablation, no gate: I + alpha d.
#   python tools/train.py configs/cirr_additive.py
_base_ = "cirr_gated.py"
fusion = dict(strategy="additive")
