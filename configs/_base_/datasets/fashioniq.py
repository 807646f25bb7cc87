# FashionIQ (Wu et al., CVPR 2021) in `data_root`; where it is absent, embedded scenes in its layout.
_base_ = "composed.py"
dataset = "fashioniq"
data_root = "data/fashioniq"
embedded = dict(root="data/scenes_fashioniq", num_train_images=6000, num_train_queries=9000)
_data = dict(type="FashionIQDataset", **_base_._data)
train_dataloader = dict(dataset=dict(split="train", role="train", **_data), **_base_._train_loader)
val_dataloader = dict(dataset=dict(split="val", role="eval", **_data), **_base_._val_loader)
val_evaluator = dict(type="FashionIQMetric")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "fashioniq/mean"
