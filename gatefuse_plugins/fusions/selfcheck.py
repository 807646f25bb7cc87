"""Does a fusion do what a fusion has to: use both inputs, keep the shape, keep its gates in range?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import PatternError, suggestion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates import GateTap, gate_taps
from gatefuse_plugins.registry import FUSIONS

# A branch that enters times tanh(0) has no gradient at step 0. Fusions are judged as after some steps of training:
# with this much noise on every parameter.
NOISE_STD = 0.02


@dataclass
class FusionCheck:
    """What one fusion was found to do.

    Attributes:
        name: registered name.
        parameters: number of parameters.
        input_shape, output_shape: of the image tokens, (B, L, D).
        neutral_start: the freshly built fusion returns the image tokens unchanged.
        image_gradient, text_gradient: norms of d(sum of output * fixed noise)/d input.
        gates: tap name -> (smallest, largest) value seen.
        sensitivity: mean |f(I, t1) - f(I, t2)| for two texts.
        faults: what is wrong; empty where the fusion passes.
    """

    name: str
    parameters: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    neutral_start: bool = False
    image_gradient: float = 0.0
    text_gradient: float = 0.0
    gates: dict[str, tuple[float, float]] = field(default_factory=dict)
    sensitivity: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """No fault was found."""
        return not self.faults


def check_fusions(
    names: Sequence[str] | None = None,
    image_dim: int = 768,
    text_dim: int = 768,
    batch: int = 4,
    image_tokens: int = 257,
    text_tokens: int = 32,
    seed: int = 0,
) -> list[FusionCheck]:
    """Build every registered fusion (or those of ``names``) and check it on random tokens.

    A fusion is built through :meth:`Fusion.from_widths`. One that cannot be built or run is a failed check, not an
    error of this function. The global random state is left as it was.

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
        return [_check_named(name, image, texts) for name in (names or registered)]


def _check_named(name: str, image: Tensor, texts: Tensor) -> FusionCheck:
    try:
        fusion = FUSIONS.get(name).from_widths(image.shape[-1], texts.shape[-1])
        return check_fusion(name, fusion, image, texts)
    except Exception as error:  # a report of all fusions is worth more than the first traceback
        return FusionCheck(name, faults=[f"cannot be built or run: {type(error).__name__}: {error}"])


def check_fusion(name: str, fusion: Fusion, image: Tensor, texts: Tensor) -> FusionCheck:
    """Check a built fusion on ``image`` (B, L, D) with two texts (2, B, M, T); its parameters get noise added."""
    found = FusionCheck(name, input_shape=tuple(image.shape))
    found.parameters = sum(parameter.numel() for parameter in fusion.parameters())
    fusion.eval()
    with torch.no_grad():
        found.neutral_start = torch.equal(fusion(image, texts[0]), image)
        for parameter in fusion.parameters():
            parameter.add_(torch.randn_like(parameter) * NOISE_STD)
        other = fusion(image, texts[1])
    leaves = [image.clone().requires_grad_(), texts[0].clone().requires_grad_()]
    handles = [tap.register_forward_hook(_watch(found, key)) for key, tap in gate_taps(fusion)]
    try:
        output = fusion(*leaves)
    finally:
        for handle in handles:
            handle.remove()
    found.output_shape = tuple(output.shape)
    found.sensitivity = (output - other).abs().mean().item()
    weight = torch.randn_like(output)  # a plain sum would hide gradients that cancel
    (output * weight).sum().backward()
    found.image_gradient, found.text_gradient = (
        0.0 if leaf.grad is None else leaf.grad.norm().item() for leaf in leaves
    )
    found.faults = _faults(found, fusion, output)
    return found


def _watch(found: FusionCheck, key: str) -> Callable[[nn.Module, tuple, Tensor], None]:
    def hook(tap: nn.Module, args: tuple, value: Tensor) -> None:
        low, high = found.gates.get(key, (float("inf"), float("-inf")))
        found.gates[key] = (min(low, value.min().item()), max(high, value.max().item()))

    return hook


def _faults(found: FusionCheck, fusion: Fusion, output: Tensor) -> list[str]:
    faults = []
    if found.output_shape != found.input_shape:
        faults.append(f"output shape {found.output_shape}, expected that of the input {found.input_shape}")
    if not torch.isfinite(output).all():
        faults.append("output is not finite")
    for what in ("image_gradient", "text_gradient", "sensitivity"):
        value = getattr(found, what)
        if not 0 < value < float("inf"):
            faults.append(f"{what} is {value}, expected a finite value above 0")
    idle = [name for name, parameter in fusion.named_parameters() if parameter.grad is None]
    if idle:
        faults.append(f"parameters without gradient: {', '.join(idle)}")
    taps = dict(gate_taps(fusion))
    if not taps:
        faults.append("no GateTap: its gates cannot be recorded")
    return faults + [fault for key, tap in taps.items() for fault in _tap_faults(key, tap, found.gates.get(key))]


def _tap_faults(key: str, tap: GateTap, seen: tuple[float, float] | None) -> list[str]:
    if seen is None:
        return [f"{key}: no value passed the tap"]
    low, high = float("-inf") if tap.low is None else tap.low, float("inf") if tap.high is None else tap.high
    if low <= seen[0] and seen[1] <= high:
        return []
    return [f"{key}: values {seen[0]:.3g}..{seen[1]:.3g} outside the declared range {low}..{high}"]
