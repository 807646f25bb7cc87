# Gates on the residual branches of QD-DETR's own encoder layers, which start neutral:
#   python tools/train.py configs/qvhighlights_layer_gates.py
_base_ = [
    "_base_/datasets/qvhighlights.py",
    "_base_/models/qd_detr.py",
    "_base_/schedules/step.py",
    "_base_/runtime/moments.py",
]
fusion = dict(type="Concat")
layer_gates = [
    dict(pattern="transformer.t2v_encoder.layers.*", branch="attention"),
    dict(pattern="transformer.encoder.layers.*", branch="attention"),
    dict(pattern="transformer.encoder.layers.*", branch="ffn"),
]
