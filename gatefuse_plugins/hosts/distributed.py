"""Data parallel training: the model inside its wrappers, and what contrastive losses exchange between ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.nn import functional as F


def unwrapped(model: nn.Module, compiled: bool = False) -> nn.Module:
    """The model inside (distributed) data parallel wrappers, whose names carry no prefix.

    Args:
        compiled: also look inside what ``torch.compile`` made.
    """
    while True:
        if is_model_wrapper(model) or isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif compiled and isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def gather_with_grad(tensor: Tensor) -> Tensor:
    """Concatenate over ranks along dimension 0; gradients flow back to every rank. Equal sizes are required.

    Each rank's loss is a mean over its own queries against all targets, so DDP's mean over ranks equals one process
    with the joined batch, in value and in gradient.
    """
    if get_world_size() == 1:
        return tensor
    if not tensor.requires_grad:
        parts = [torch.empty_like(tensor) for _ in range(get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)
    import torch.distributed.nn.functional as dist_fn

    return torch.cat(dist_fn.all_gather(tensor.contiguous()))


def gather_padded(tensor: Tensor) -> Tensor:
    """:func:`gather_with_grad` of (B, L, ...) whose L may differ between ranks: padded with 0 (False) to the longest.

    (B,) has no such dimension and is gathered as it is.
    """
    if tensor.dim() < 2 or get_world_size() == 1:
        return gather_with_grad(tensor)
    longest = torch.tensor(tensor.shape[1], device=tensor.device)
    dist.all_reduce(longest, dist.ReduceOp.MAX)
    return gather_with_grad(F.pad(tensor, [*[0, 0] * (tensor.dim() - 2), 0, int(longest) - tensor.shape[1]]))


def own_columns(count: int, device: torch.device) -> Tensor:
    """Columns of the gathered targets that belong to this rank's ``count`` queries."""
    return torch.arange(count, device=device) + get_rank() * count
