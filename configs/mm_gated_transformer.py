# Highlight detection by an mmcv transformer whose attention and feed-forward branches are gated (docs/mmengine.md):
#   python tools/train.py configs/mm_gated_transformer.py
_base_ = ["_base_/datasets/tvsum.py", "_base_/schedules/step.py", "_base_/runtime/default.py"]
custom_imports = dict(imports=["gatefuse_plugins.plugins", "gatefuse_plugins.mm"])
audio_features = None
max_epochs = 10
model = dict(
    type="HighlightTransformer",
    video_dim="${profiles.${profile}.video_dim}",
    text_dim="${profiles.${profile}.text_dim}",
    encoder=dict(
        type="TransformerLayerSequence",
        num_layers=2,
        transformerlayers=dict(
            type="BaseTransformerLayer",
            batch_first=True,
            operation_order=("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"),
            attn_cfgs=dict(type="GatedMultiheadAttention", embed_dims=64, num_heads=4, granularity="clipwise"),
            ffn_cfgs=dict(type="GatedFFN", feedforward_channels=128),
        ),
    ),
)
