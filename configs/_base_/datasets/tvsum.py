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
        **_base_._real,
        video_dim=2050,
        batch_size=4,
        lr=1e-3,
        lr_drop=2000,
        max_epochs=2000,
        val_interval=10,
        max_time=None,
    ),
    embedded=dict(
        **_base_._embedded,
        batch_size=4,
        lr_drop=30,
        max_epochs=40,
        val_interval=5,
    ),
)
_data = dict(type="TVSumDataset", domain="${domain}", **_base_._features)
train_dataloader = dict(dataset=dict(split="train", role="train", **_data), **_base_._train_loader)
val_dataloader = dict(batch_size=1, dataset=dict(split="val", role="eval", **_data), **_base_._val_loader)
val_evaluator = dict(type="TVSumMetric", submission_file="${submission_file}")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "tvsum/mAP"
