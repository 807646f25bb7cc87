# BLIP-2 composed retrieval; `backbone` picks vision encoder, Q-Former and tokenizer together.
backbone = "tiny"
_blip2 = dict(
    qformer=dict(type="QFormer", bert="bert-base-uncased"),
    tokenizer=dict(type="CaptionTokenizer", vocabulary="bert-base-uncased", max_length=32),
    num_query_token=32,
    embed_dim=256,
    text_norm=False,
    weight_rtc=0.4,
    weight_align=0.4,
)
backbones = dict(
    tiny=dict(
        vision=dict(
            type="TinyPatchEncoder", image_size=48, patch_size=16, width=128, depth=2, num_heads=4, weights=None
        ),
        qformer=dict(
            type="QFormer",
            bert=None,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=64,
            cross_attention_freq=1,
            dropout=0.0,
            initializer_range=0.08,
        ),
        tokenizer=dict(type="CaptionTokenizer", vocabulary="tiny", max_length=24, padding="longest"),
        num_query_token=8,
        embed_dim=128,
        text_norm=True,
        # the scenes' captions say nothing of the target without the reference: only the composed contrast learns
        weight_rtc=0.0,
        weight_align=0.0,
        pretrained=None,
    ),
    pretrain=dict(
        vision=dict(type="EvaViTG", image_size=224, weights=None),
        pretrained="https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/blip2_pretrained.pth",
        **_blip2,
    ),
    pretrain_vitL=dict(
        vision=dict(type="ClipViTL", image_size=224, weights=None),
        pretrained="https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/blip2_pretrained_vitL.pth",
        **_blip2,
    ),
)
pretrained = "${backbones.${backbone}.pretrained}"
image_size = "${backbones.${backbone}.vision.image_size}"
model = dict(
    type="Blip2ComposedRetrieval",
    vision="${backbones.${backbone}.vision}",
    qformer="${backbones.${backbone}.qformer}",
    tokenizer="${backbones.${backbone}.tokenizer}",
    num_query_token="${backbones.${backbone}.num_query_token}",
    embed_dim="${backbones.${backbone}.embed_dim}",
    fusion="${fusion}",
    weight_rtc="${backbones.${backbone}.weight_rtc}",
    weight_align="${backbones.${backbone}.weight_align}",
)
