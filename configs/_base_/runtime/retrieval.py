# The default runtime; at evaluation the correlations between query gates and the other gates of their blocks, and the
# test split once, at the end.
_base_ = "default.py"
log_interval = "${profiles.${profile}.log_interval}"
custom_hooks = [dict(type="GateCorrelationHook"), dict(type="FinalTestHook"), *_base_.custom_hooks]
