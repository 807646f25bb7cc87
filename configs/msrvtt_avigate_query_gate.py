# AVIGATE with a text query gate; every text is scored against every video fused with that text:
#   python tools/train.py configs/msrvtt_avigate_query_gate.py
_base_ = "msrvtt_avigate.py"
model = dict(query_gate="scalar")
