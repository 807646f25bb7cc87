# Gated SPRC on CIRR (embedded scenes where data_root holds no CIRR):
#   python tools/train.py configs/cirr_gated.py
_base_ = [
    "_base_/datasets/cirr.py",
    "_base_/models/blip2_cir.py",
    "_base_/schedules/onecycle.py",
    "_base_/runtime/default.py",
]
fusion = dict(
    type="TextGuidedImageFusion", strategy="residual", alpha_init=0.5, text_norm="${backbones.${backbone}.text_norm}"
)
