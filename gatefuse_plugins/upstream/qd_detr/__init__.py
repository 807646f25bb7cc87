"""What the patched scripts of wjun0830/QD-DETR call; its heavy parts are imported only where a flag asks for them."""

from gatefuse_plugins.upstream.qd_detr.options import add_flags, attach_fusion, leading_arguments, logging_gates

__all__ = ["add_flags", "attach_fusion", "leading_arguments", "logging_gates"]
