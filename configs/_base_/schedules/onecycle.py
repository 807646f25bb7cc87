# SPRC's recipe: AdamW (0.9, 0.98), weight decay 0.05 on every parameter, one-cycle learning rate over all steps.
lr = 1e-3
max_epochs = 6
schedule_epochs = "${max_epochs}"
pct_start = 0.1
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr="${lr}", betas=(0.9, 0.98), eps=1e-7, weight_decay=0.05),
)
param_scheduler = [
    dict(
        type="OneCycleLR",
        eta_max="${lr}",
        total_steps="${schedule_epochs}",
        pct_start="${pct_start}",
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs="${max_epochs}", val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
