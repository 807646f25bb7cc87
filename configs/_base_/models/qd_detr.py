# QD-DETR (Moon et al., CVPR 2023); `fusion` says how audio comes in.
model = dict(
    type="QDDETR",
    video_dim="${profiles.${profile}.video_dim}",
    text_dim="${profiles.${profile}.text_dim}",
    audio_dim="${profiles.${profile}.audio_dim}",
    hidden_dim="${profiles.${profile}.hidden_dim}",
    nheads="${profiles.${profile}.nheads}",
    dim_feedforward="${profiles.${profile}.dim_feedforward}",
    input_dropout="${profiles.${profile}.input_dropout}",
    fusion="${fusion}",
    postprocess=dict(
        clip_length="${clip_length}",
        max_time="${profiles.${profile}.max_time}",
        sort=True,
        conf_thd=0.0,
        nms_thd=-1.0,
        max_before_nms=10,
        max_after_nms=10,
    ),
)
