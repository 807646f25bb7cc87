# Ablation, plain SPRC without fusion.
#   python tools/train.py configs/cirr_ungated.py
_base_ = "cirr_gated.py"
fusion = None
