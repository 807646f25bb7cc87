# AVIGATE's recipe: AdamW (0.9, 0.98), linear warm-up into a cosine to 0, gradients clipped at norm 1.
lr = "${profiles.${profile}.lr}"
max_epochs = "${profiles.${profile}.max_epochs}"
warmup_epochs = "${profiles.${profile}.warmup_epochs}"
val_interval = 1
weight_decay = "${profiles.${profile}.weight_decay}"
grad_clip = 1.0
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr="${lr}", betas=(0.9, 0.98), eps=1e-6, weight_decay="${weight_decay}"),
    paramwise_cfg="${profiles.${profile}.paramwise}",
    clip_grad=dict(max_norm="${grad_clip}"),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end="${warmup_epochs}", by_epoch=True, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", end="${max_epochs}", by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs="${max_epochs}", val_interval="${val_interval}")
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
