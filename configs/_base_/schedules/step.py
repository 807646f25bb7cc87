# QD-DETR's recipe: AdamW, a tenth of the learning rate after `lr_drop` epochs, gradients clipped.
lr = "${profiles.${profile}.lr}"
lr_drop = "${profiles.${profile}.lr_drop}"
max_epochs = "${profiles.${profile}.max_epochs}"
val_interval = "${profiles.${profile}.val_interval}"
weight_decay = 1e-4
grad_clip = 0.1
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr="${lr}", weight_decay="${weight_decay}", fused=True),
    clip_grad=dict(max_norm="${grad_clip}"),
)
param_scheduler = [dict(type="StepLR", step_size="${lr_drop}", gamma=0.1, by_epoch=True)]
train_cfg = dict(type="ResumableEpochLoop", max_epochs="${max_epochs}", val_interval="${val_interval}")
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
