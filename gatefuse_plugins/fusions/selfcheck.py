"""Does a fusion do what a fusion has to: use its inputs, keep the shape, keep its gates in range?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import PatternError, suggestion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.selfcheck_faults import FusionCheck, find_faults
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.registry import FUSIONS

# A branch that enters times tanh(0) has no gradient at step 0. Fusions are judged as after some steps of training:
# with this much noise on every parameter.
NOISE_STD = 0.02


def check_fusions(
    names: Sequence[str] | None = None,
    image_dim: int = 768,
    text_dim: int = 768,
    batch: int = 4,
    image_tokens: int = 257,
    text_tokens: int = 32,
    seed: int = 0,
    hidden_dim: int = 256,
    clips: int = 75,
) -> list[FusionCheck]:
    """Build every registered fusion (or those of ``names``) and check it on random tokens.

    Fusions of images by text are built through :meth:`Fusion.from_widths` and get ``image_tokens`` of ``image_dim``;
    those with a ``placement`` get ``clips`` of video and audio, ``hidden_dim`` wide. One that cannot be built or
    run is a failed check, not an error of this function. The global random state is left as it was.

    Raises:
        PatternError: a name is not registered.
    """
    registered = sorted(FUSIONS.module_dict)
    for name in names or ():
        if name not in registered:
            raise PatternError(f"{name!r} is not a registered fusion{suggestion(name, registered)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = torch.randn(batch, image_tokens, image_dim)
        texts = torch.randn(2, batch, text_tokens, text_dim)
        video = torch.randn(batch, clips, hidden_dim)
        audios = torch.randn(2, batch, clips, hidden_dim)
        query = torch.randn(batch, text_tokens, hidden_dim)
        found = []
        for name in names or registered:
            audio = getattr(FUSIONS.get(name), "placement", None) is not None
            found.append(_check_named(name, *((video, audios, query) if audio else (image, texts, None))))
        return found


def _check_named(name: str, x: Tensor, contexts: Tensor, condition: Tensor | None) -> FusionCheck:
    try:
        kind = FUSIONS.get(name)
        if kind.placement is None:
            fusion = kind.from_widths(x.shape[-1], contexts.shape[-1])
        elif kind.placement == "input":
            fusion = kind(video_dim=x.shape[-1], audio_dim=contexts.shape[-1])
        else:
            fusion = kind(dim=x.shape[-1])
        return check_fusion(name, fusion, x, contexts, condition)
    except Exception as error:  # a report of all fusions is worth more than the first traceback
        return FusionCheck(name, faults=[f"cannot be built or run: {type(error).__name__}: {error}"])


def check_fusion(
    name: str, fusion: Fusion, x: Tensor, contexts: Tensor, condition: Tensor | None = None
) -> FusionCheck:
    """Check a built fusion; its parameters get noise added.

    Args:
        name: for the report.
        fusion: what is checked.
        x: stream being changed, (B, L, D).
        contexts: two contexts, (2, B, M, C).
        condition: query text (B, N, T), for fusions with a ``placement``.
    """
    found = FusionCheck(name, input_shape=tuple(x.shape))
    found.parameters = sum(parameter.numel() for parameter in fusion.parameters())
    fusion.eval()
    with torch.no_grad():
        found.neutral_start = torch.equal(fusion(x, contexts[0], condition), x)
        for parameter in fusion.parameters():
            parameter.add_(torch.randn_like(parameter) * NOISE_STD)
        other = fusion(x, contexts[1], condition)
    streams = ("image", "text") if fusion.placement is None else ("video", "audio")
    leaves = dict(zip(streams, (x, contexts[0]), strict=True))
    if fusion.uses_condition and condition is not None:
        leaves["query"] = condition
    leaves = {key: leaf.clone().requires_grad_() for key, leaf in leaves.items()}
    handles = [tap.register_forward_hook(_watch(found, key)) for key, tap in gate_taps(fusion)]
    try:
        output = fusion(*(leaves[key] for key in streams), leaves.get("query", condition))
    finally:
        for handle in handles:
            handle.remove()
    found.output_shape = tuple(output.shape)
    found.sensitivity = (output - other).abs().mean().item()
    weight = torch.randn_like(output)  # a plain sum would hide gradients that cancel
    (output * weight).sum().backward()
    found.gradients = {key: 0.0 if leaf.grad is None else leaf.grad.norm().item() for key, leaf in leaves.items()}
    found.faults = find_faults(found, fusion, output)
    return found


def _watch(found: FusionCheck, key: str) -> Callable[[nn.Module, tuple, Tensor], None]:
    def hook(tap: nn.Module, args: tuple, value: Tensor) -> None:
        low, high = found.gates.get(key, (float("inf"), float("-inf")))
        found.gates[key] = (min(low, value.min().item()), max(high, value.max().item()))

    return hook
