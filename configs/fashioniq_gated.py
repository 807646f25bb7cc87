# Gated SPRC on FashionIQ (embedded scenes where data_root holds none); also tests a CIRR-trained checkpoint:
#   python tools/train.py configs/fashioniq_gated.py
#   python tools/test.py configs/fashioniq_gated.py work_dirs/cirr_gated/best_cirr_mean_iter_N.pth
_base_ = [
    "_base_/datasets/fashioniq.py",
    "_base_/models/blip2_cir.py",
    "_base_/schedules/onecycle.py",
    "_base_/runtime/default.py",
]
fusion = dict(
    type="TextGuidedImageFusion", strategy="residual", alpha_init=0.5, text_norm="${backbones.${backbone}.text_norm}"
)
