# Ungated SPRC whose Q-Former gets gates on its own branches, neutral at the start, by injection:
#   python tools/train.py configs/cirr_qformer_gates.py
_base_ = "cirr_ungated.py"
_layer = "Qformer.bert.encoder.layer.*"
model = dict(
    type="Injected",
    host="Blip2ComposedRetrieval",
    injection=[
        dict(pattern=f"{_layer}.crossattention.output.dense", gate=dict(type="ResidualGate", kind="attention")),
        dict(pattern=f"{_layer}.output_query.dense", gate=dict(type="ResidualGate", kind="ffn")),
    ],
)
