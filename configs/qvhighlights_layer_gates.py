# Gates on the residual branches of QD-DETR's own encoder layers, neutral at the start, by injection:
#   python tools/train.py configs/qvhighlights_layer_gates.py
_base_ = "qvhighlights_concat.py"
_gate = dict(type="ResidualGate")
model = dict(
    type="Injected",
    host="QDDETR",
    injection=[
        dict(pattern="transformer.t2v_encoder.layers.*", at="attention_gate", gate=_gate),
        dict(pattern="transformer.encoder.layers.*", at="attention_gate", gate=_gate),
        dict(pattern="transformer.encoder.layers.*", at="ffn_gate", gate=_gate),
    ],
)
