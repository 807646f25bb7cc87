# CIRR (Liu et al., ICCV 2021) in `data_root`; where it is absent, embedded scenes in CIRR's layout.
_base_ = "composed.py"
dataset = "cirr"
data_root = "data/cirr"
embedded = "${prepare.vision_scenes}"
_data = dict(type="CIRRDataset", **_base_._data)
train_dataloader = dict(dataset=dict(split="train", role="train", **_data), **_base_._train_loader)
val_dataloader = dict(dataset=dict(split="val", role="eval", **_data), **_base_._val_loader)
val_evaluator = dict(type="CIRRMetric")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
save_best = "cirr/mean"
