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
        **_base_._real,
        video_dim=2818,
        batch_size=32,
        lr=1e-4,
        lr_drop=400,
        max_epochs=200,
        val_interval=1,
        max_time=150.0,  # upstream clips every window to the longest video,
        half_saliency=True,  # and scores saliency that was rounded to half precision
    ),
    embedded=dict(
        **_base_._embedded,
        batch_size=32,
        lr_drop=8,
        max_epochs=10,
        val_interval=2,
        half_saliency=False,
    ),
)
_data = dict(type="QVHighlightsDataset", **_base_._features)
train_dataloader = dict(dataset=dict(split="train", role="train", **_data), **_base_._train_loader)
val_dataloader = dict(batch_size=100, dataset=dict(split="val", role="eval", **_data), **_base_._val_loader)
val_evaluator = dict(
    type="QVHighlightsMetric",
    submission_file="${submission_file}",
    half_saliency="${profiles.${profile}.half_saliency}",
)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "qvhighlights/MR-full-mAP"
