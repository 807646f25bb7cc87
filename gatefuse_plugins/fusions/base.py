"""What every fusion is: a change of ``x`` steered by ``context``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gatefuse_plugins.gates.ownership import OwnsGateParameters


class Fusion(OwnsGateParameters):
    """Base of all fusions: ``fusion(x, context, ...) -> x'``, x' shaped as x.

    Attributes:
        placement: where a host of video and audio calls it. ``input``: on the raw features, built with ``video_dim``
            and ``audio_dim``; its output is ``output_dim`` wide. ``projected``: after the input projections, built with
            ``dim``. ``None``: no fusion of video and audio.
        uses_condition: its gates read ``condition``.
        gated: it has gates, whose values pass taps.
    """

    placement: ClassVar[str | None] = None
    uses_condition: ClassVar[bool] = False
    gated: ClassVar[bool] = True

    @classmethod
    def from_widths(cls, image_dim: int, text_dim: int) -> Fusion:
        """An instance for tokens of these widths, all else at its defaults; the self-check builds fusions so.

        A fusion whose constructor takes other arguments overrides this.
        """
        return cls(image_dim=image_dim, text_dim=text_dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """Mix ``context`` into ``x``.

        Args:
            x: stream being changed, (B, L, D).
            context: stream mixed in, (B, M, C).
            condition: text that steers the gates without being mixed in, (B, N, T), where a fusion has one.
            x_mask: (B, L), True = valid. Likewise ``context_mask`` (B, M) and ``condition_mask`` (B, N).
        """
        raise NotImplementedError
