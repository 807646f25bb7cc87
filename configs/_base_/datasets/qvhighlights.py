# QVHighlights (Lei et al., NeurIPS 2021) in `data_root`; where it is absent, embedded events in its layout.
_base_ = "moments.py"
dataset = "qvhighlights"
data_root = "data/qvhighlights"
embedded = dict(root="data/events_qvhighlights", num_train_videos=800, num_val_videos=160, num_test_videos=40)
max_v_l = 75
max_q_l = 32
clip_length = 2.0
profiles = dict(
    auto="${profiles.embedded}",
    real=dict(
        video_dim=2818,
        text_dim=512,
        audio_dim=2050,
        hidden_dim=256,
        nheads=8,
        dim_feedforward=1024,
        fusion_layers=4,
        fusion_n_heads=4,
        input_dropout=0.5,
        batch_size=32,
        lr=1e-4,
        lr_drop=400,
        max_epochs=200,
        val_interval=1,
        max_time=150.0,  # upstream clips every window to the longest video,
        half_saliency=True,  # and scores saliency that was rounded to half precision
    ),
    embedded=dict(
        video_dim=98,
        text_dim=32,
        audio_dim=50,
        hidden_dim=64,
        nheads=4,
        dim_feedforward=128,
        fusion_layers=2,
        fusion_n_heads=4,
        input_dropout=0.1,
        batch_size=32,
        lr=1e-3,
        lr_drop=8,
        max_epochs=10,
        val_interval=2,
        max_time=None,
        half_saliency=False,
    ),
)
_data = dict(type="QVHighlightsDataset", **_base_._features)
_loader = dict(num_workers="${num_workers}", collate_fn=dict(type="gatefuse.identity_collate"))
train_dataloader = dict(
    batch_size="${batch_size}",
    drop_last=False,
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}"),
    dataset=dict(split="train", role="train", **_data),
    **_loader,
)
val_dataloader = dict(
    batch_size=100,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(split="val", role="eval", **_data),
    **_loader,
)
val_evaluator = dict(
    type="QVHighlightsMetric",
    submission_file="${submission_file}",
    half_saliency="${profiles.${profile}.half_saliency}",
)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "qvhighlights/MR-full-mAP"
