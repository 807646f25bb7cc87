# The default runtime, and at evaluation the correlations between query gates and the other gates of their blocks.
_base_ = "default.py"
log_interval = "${profiles.${profile}.log_interval}"
custom_hooks = [dict(type="GateCorrelationHook"), *_base_.custom_hooks]
