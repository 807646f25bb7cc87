# FashionIQ (Wu et al., CVPR 2021) in `data_root`; where it is absent, embedded scenes in its layout.
_base_ = "composed.py"
dataset = "fashioniq"
data_root = "data/fashioniq"
embedded = dict(root="data/scenes_fashioniq", num_train_images=6000, num_train_queries=9000)
_data = dict(type="FashionIQDataset", data_root="${data_root}", transform="${transform}", features=None)
train_dataloader = dict(
    batch_size="${batch_size}",
    num_workers="${num_workers}",
    drop_last=True,
    collate_fn=dict(type="gatefuse.identity_collate"),
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}", group_size="${group_size}"),
    dataset=dict(split="train", role="train", **_data),
)
val_dataloader = dict(
    batch_size=256,
    num_workers="${num_workers}",
    drop_last=False,
    collate_fn=dict(type="gatefuse.identity_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(split="val", role="eval", **_data),
)
val_evaluator = dict(type="FashionIQMetric")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "fashioniq/mean"
