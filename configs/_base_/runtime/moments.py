# The default runtime, and gates scored against the off-topic mask that embedded events come with.
_base_ = "default.py"
custom_hooks = [dict(type="OffTopicGateHook"), *_base_.custom_hooks]
