# What QVHighlights and TVSum share: features by folder, loaders, and `profile`, which picks sizes and schedule that fit
# the real set or the embedded one (auto: by what data_root holds).
profile = "auto"
video_features = "auto"
text_features = "auto"
audio_features = "auto"
packed = None
missing_audio = "error"
batch_size = "${profiles.${profile}.batch_size}"
num_workers = 0
submission_file = None
_features = dict(
    data_root="${data_root}",
    video_features="${video_features}",
    text_features="${text_features}",
    audio_features="${audio_features}",
    packed="${packed}",
    max_v_l="${max_v_l}",
    max_q_l="${max_q_l}",
    clip_length="${clip_length}",
    missing_audio="${missing_audio}",
)
_loader = dict(num_workers="${num_workers}", collate_fn=dict(type="gatefuse.identity_collate"))
_train_loader = dict(
    batch_size="${batch_size}",
    drop_last=False,
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}"),
    **_loader,
)
_val_loader = dict(drop_last=False, sampler=dict(type="DefaultSampler", shuffle=False), **_loader)
_real = dict(
    text_dim=512,
    audio_dim=2050,
    hidden_dim=256,
    nheads=8,
    dim_feedforward=1024,
    fusion_layers=4,
    fusion_n_heads=4,
    input_dropout=0.5,
)
_embedded = dict(
    video_dim=98,
    text_dim=32,
    audio_dim=50,
    hidden_dim=64,
    nheads=4,
    dim_feedforward=128,
    fusion_layers=2,
    fusion_n_heads=4,
    input_dropout=0.1,
    lr=1e-3,
    max_time=None,
)
