# TVSum (Song et al., CVPR 2015) as QD-DETR ships it, in `data_root`; where it is absent, embedded events in its layout.
_base_ = "moments.py"
dataset = "tvsum"
data_root = "data/tvsum"
embedded = dict(root="data/events_tvsum", num_train_videos=200, num_val_videos=50)
domain = "BK"
max_v_l = 1000  # of one second each, as many as its labels
max_q_l = 1000
clip_length = 1.0
profiles = dict(
    auto="${profiles.embedded}",
    real=dict(
        video_dim=2050,
        text_dim=512,
        audio_dim=2050,
        hidden_dim=256,
        nheads=8,
        dim_feedforward=1024,
        fusion_layers=4,
        fusion_n_heads=4,
        input_dropout=0.5,
        batch_size=4,
        lr=1e-3,
        lr_drop=2000,
        max_epochs=2000,
        val_interval=10,
        max_time=None,
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
        batch_size=4,
        lr=1e-3,
        lr_drop=30,
        max_epochs=40,
        val_interval=5,
        max_time=None,
    ),
)
_data = dict(type="TVSumDataset", domain="${domain}", **_base_._features)
_loader = dict(num_workers="${num_workers}", collate_fn=dict(type="gatefuse.identity_collate"))
train_dataloader = dict(
    batch_size="${batch_size}",
    drop_last=False,
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}"),
    dataset=dict(split="train", role="train", **_data),
    **_loader,
)
val_dataloader = dict(
    batch_size=1,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(split="val", role="eval", **_data),
    **_loader,
)
val_evaluator = dict(type="TVSumMetric", submission_file="${submission_file}")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "tvsum/mAP"
