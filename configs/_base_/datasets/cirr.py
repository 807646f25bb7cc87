# CIRR (Liu et al., ICCV 2021) in `data_root`; where it is absent, embedded scenes in CIRR's layout.
_base_ = "composed.py"
dataset = "cirr"
data_root = "data/cirr"
embedded = "${prepare.vision_scenes}"
_data = dict(type="CIRRDataset", data_root="${data_root}", transform="${transform}", features=None)
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
val_evaluator = dict(type="CIRRMetric")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "cirr/mean"
