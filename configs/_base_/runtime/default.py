# Hooks, logs and checkpoints of every run.
custom_imports = dict(imports=["gatefuse_plugins.plugins"])
default_scope = "gatefuse"
seed = 0
randomness = dict(seed="${seed}")
log_interval = 20
checkpoint_interval = 200
default_hooks = dict(
    runtime_info=dict(type="RuntimeInfoHook"),
    timer=dict(type="IterTimerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    logger=dict(type="LoggerHook", interval="${log_interval}"),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="SafeCheckpointHook", interval="${checkpoint_interval}", save_best="${save_best}"),
)
custom_hooks = [
    dict(type="StepSeedHook"),
    dict(type="NonFiniteLossHook"),
    dict(type="GateMonitorHook", interval="${log_interval}"),
    dict(type="CSVLogHook", interval="${log_interval}"),
    dict(type="ReportHook"),
    dict(type="MetricsFileHook"),
    dict(type="CurvesHook"),
    dict(type="ProgressHook"),
]
visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")])
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0), dist_cfg=dict(backend="gloo")
)
log_level = "INFO"
load_from = None
resume = False
