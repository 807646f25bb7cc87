# AVIGATE (Jeong et al., CVPR 2025); options of docs/avigate.md go into `model`.
model = dict(
    type="AVIGATE",
    width="${profiles.${profile}.width}",
    num_heads="${profiles.${profile}.num_heads}",
    num_query_tokens="${profiles.${profile}.num_query_tokens}",
    resampler_layers="${profiles.${profile}.resampler_layers}",
    fusion_layers="${profiles.${profile}.fusion_layers}",
    max_frames="${profiles.${profile}.max_frames}",
    fusion_mix="${profiles.${profile}.fusion_mix}",
    frame_encoder="${profiles.${profile}.frame_encoder}",
    text_encoder="${profiles.${profile}.text_encoder}",
    audio_encoder="${profiles.${profile}.audio_encoder}",
    frozen="${profiles.${profile}.frozen}",
)
