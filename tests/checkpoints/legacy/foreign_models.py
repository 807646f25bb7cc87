"""Small models built as the known forks build theirs, with classes that are not ours."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

DIM = 4


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, DIM // 2), nn.ReLU(), nn.Linear(DIM // 2, outputs))


class Gating(nn.Module):
    """Two gates of a layer, of either generation; keeps what it gave last."""

    def __init__(self, gating_type: str, learned: bool) -> None:
        super().__init__()
        self.gating_type, self.learned = gating_type, learned
        self.mlp_mha, self.mlp_ffn = _head(2 * DIM, 1), _head(2 * DIM, 1)
        if learned:
            self.mlp_ffn_beta = _head(2 * DIM, 1)
            self.mha_bias, self.mha_scale = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.8))
            self.ffn_alpha, self.ffn_beta = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.4))

    def evidence(self, video: Tensor, audio: Tensor) -> Tensor:
        if self.gating_type == "global":
            return torch.cat([video.mean(1, keepdim=True), audio.mean(1, keepdim=True)], dim=-1)
        return torch.cat([video, audio], dim=-1)

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.evidence(video, audio)
        attention, ffn = self.mlp_mha(seen), self.mlp_ffn(seen).tanh()
        if self.learned:
            attention, ffn = torch.sigmoid((attention + self.mha_bias) / 1.5) * self.mha_scale, ffn * self.ffn_alpha
        else:
            attention = attention.tanh()
        self.last = (attention.detach(), ffn.detach())
        return attention, ffn


class FusionLayer(nn.Module):
    def __init__(self, gating_type: str, learned: bool) -> None:
        super().__init__()
        self.gating_function = Gating(gating_type, learned)
        self.out_proj, self.ffn = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, video_feat: Tensor, audio_feat: Tensor, video_mask: Tensor | None = None) -> Tensor:
        attention, ffn = self.gating_function(video_feat, audio_feat)
        mixed = video_feat + attention * self.out_proj(audio_feat)
        fused = mixed + ffn * self.ffn(mixed)
        if self.gating_function.learned:
            raw = self.gating_function.mlp_ffn_beta(self.gating_function.evidence(video_feat, audio_feat))
            fused = fused + torch.tanh(raw) * self.gating_function.ffn_beta
        return fused


class FusionStack(nn.Module):
    def __init__(self, gating_type: str, learned: bool) -> None:
        super().__init__()
        self.fusion_layers = nn.ModuleList([FusionLayer(gating_type, learned) for _ in range(2)])

    def forward(self, video_feat: Tensor, audio_feat: Tensor, video_mask: Tensor | None = None) -> Tensor:
        for layer in self.fusion_layers:
            video_feat = layer(video_feat, audio_feat, video_mask)
        return video_feat


class TemporalGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc_base, self.w_q = nn.Linear(2 * DIM, 1), nn.Linear(DIM, DIM, bias=False)

    def forward(self, video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        base = torch.sigmoid(self.fc_base(torch.cat([video, audio], dim=-1)))
        return base * torch.sigmoid(torch.einsum("bld,bd->bl", self.w_q(audio), text)).unsqueeze(-1)


class TemporalFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_net, self.w_a = TemporalGate(), nn.Linear(DIM, DIM)

    def forward(self, video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        return video + self.gate_net(video, audio, text) * self.w_a(audio)


class MomentModel(nn.Module):
    """Stands for a fork of QD-DETR: the fusion between inputs and a head."""

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion, self.class_embed = fusion, nn.Linear(DIM, 2)

    def forward(self, src_txt: Tensor, src_vid: Tensor, src_vid_mask: Tensor, src_aud: Tensor) -> dict[str, Tensor]:
        third = src_txt.mean(1) if isinstance(self.fusion, TemporalFusion) else src_vid_mask
        return {"pred_logits": self.class_embed(self.fusion(src_vid, src_aud, third))}


def moment_inputs() -> dict[str, Tensor]:
    """A batch of two samples, the second with 3 of 5 clips; as those forks take it."""
    generator = torch.Generator().manual_seed(3)
    text, video, audio = (torch.randn(2, 5, DIM, generator=generator) for _ in range(3))
    mask = torch.ones(2, 5)
    mask[1, 3:] = 0
    return {"src_txt": text, "src_vid": video, "src_vid_mask": mask, "src_aud": audio}


class GatedBlock(nn.Module):
    """AVIGATE's block: the heads are raw, their tanh is taken in ``forward``; gates go into lists."""

    def __init__(self) -> None:
        super().__init__()
        self.attn_gate, self.ff_gate = self._head("ag"), self._head("fg")
        self.cross_attn, self.cross_ff = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    @staticmethod
    def _head(prefix: str) -> nn.Sequential:
        layers = {"fc": nn.Linear(2 * DIM, DIM, bias=False), "gelu": nn.GELU(), "proj": nn.Linear(DIM, 1, bias=False)}
        return nn.Sequential(OrderedDict((f"{prefix}_{name}", layer) for name, layer in layers.items()))

    def forward(self, packed: tuple[Tensor, Tensor, list[Tensor], list[Tensor]]) -> tuple[object, ...]:
        x, v, attention_gates, ffn_gates = packed
        seen = torch.cat((x.mean(0), v.mean(0)), 1)
        attention, ffn = self.attn_gate(seen).tanh(), self.ff_gate(seen).tanh()
        x = x + self.cross_attn(v.mean(0, keepdim=True)) * attention
        x = x + self.cross_ff(x) * ffn
        return x, v, [*attention_gates, attention.view(-1)], [*ffn_gates, ffn.view(-1)]


class GatedTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(GatedBlock(), GatedBlock())

    def forward(self, x: Tensor, v: Tensor) -> tuple[object, ...]:
        return self.resblocks((x, v, [], []))


class ImageFusion(nn.Module):
    """The gated SPRC fork's module."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_net = nn.Sequential(nn.Linear(2 * DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
        self.delta_net = nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
        self.alpha = nn.Parameter(torch.tensor([0.5]))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        guide = text.mean(1, keepdim=True).expand_as(image)
        self.gate = torch.sigmoid(self.gate_net(torch.cat([image, guide], dim=-1)))
        self.delta = torch.tanh(self.delta_net(guide))
        return image + self.alpha * self.gate * self.delta


class TextAudioFusion(nn.Module):
    """QD-DETR-exp ``txt_audio``: a gate that ends in its own sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_self_attention = nn.MultiheadAttention(DIM, 1, batch_first=True)
        self.gate_mlp = nn.Sequential(nn.Linear(DIM, 2), nn.ReLU(), nn.Linear(2, 1), nn.Sigmoid())

    def forward(self, audio: Tensor) -> Tensor:
        return audio * self.gate_mlp(self.gate_self_attention(audio, audio, audio)[0].mean(1)).unsqueeze(-1)


MODELS = {
    "qd_detr_tanh": lambda: MomentModel(FusionStack("clipwise", learned=False)),
    "qd_detr_sigmoid": lambda: MomentModel(FusionStack("clipwise", learned=True)),
    "qd_detr_temporal": lambda: MomentModel(TemporalFusion()),
    "qd_detr_text_audio": TextAudioFusion,
    "avigate": GatedTransformer,
    "gated_sprc": ImageFusion,
}


def build(fork: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[fork]().eval()


def run(model: nn.Module) -> Any:
    inputs = moment_inputs()
    if isinstance(model, MomentModel):
        return model(**inputs)
    video, audio = inputs["src_vid"], inputs["src_aud"]
    return model(audio) if isinstance(model, TextAudioFusion) else model(video, audio)


def flat(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return [tensor for part in (output.values() if isinstance(output, dict) else output) for tensor in flat(part)]
