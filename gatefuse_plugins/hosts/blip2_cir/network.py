"""The composed-retrieval network after SPRC: which passes run, and what is compared with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.hosts.blip2_cir import losses as loss_fn
from gatefuse_plugins.hosts.blip2_cir.qformer_passes import embed_prompted_text, fuse_queries, run_text_path
from gatefuse_plugins.hosts.blip2_cir.text import CaptionTokenizer, TextBatch
from gatefuse_plugins.hosts.distributed import gather_with_grad, own_columns


@dataclass(frozen=True)
class LossOptions:
    """What is computed in training; the defaults are SPRC's, without the options.

    Attributes:
        weight_rtc: weight of ``loss_rtc`` (text-only prompt against target); 0 skips its pass.
        weight_align: weight of ``loss_align``; 0 skips it.
        weight_patch: weight of ``loss_patch`` (query against the target's image patches); 0 has no parameters.
        mask_duplicates: do not count a second sample with the same target picture as a negative.
        temperature_floor: smallest temperature; the parameter is projected back onto it. 0 is no floor.
        hard_negative_beta: see :func:`losses.contrastive_loss`.
    """

    weight_rtc: float = 0.4
    weight_align: float = 0.4
    weight_patch: float = 0.0
    mask_duplicates: bool = False
    temperature_floor: float = 0.0
    hard_negative_beta: float = 0.0


class ComposedRetrievalNetwork(nn.Module):
    """Q-Former that composes a reference image and a caption into one query vector.

    Parameter names are those of SPRC's ``Blip2QformerCirAlignPrompt``, so its checkpoints load unchanged. Built from
    finished parts: nothing here reads a config. Cooperates in multiple inheritance (mmengine's and LAVIS's bases).

    Args:
        visual_encoder: frozen, ``(B, 3, S, S) -> (B, L, D)``, attributes ``num_features`` and ``num_tokens``.
        qformer: BERT with query tokens and cross-attention, from :func:`build_qformer`.
        tokenizer: captions to ids.
        fusion: changes the normalised reference tokens by the caption; ``None`` is plain SPRC.
        num_query_token: Q.
        embed_dim: width E of the retrieval space.
        loss_options: see :class:`LossOptions`.
    """

    def __init__(
        self,
        visual_encoder: nn.Module,
        qformer: nn.Module,
        tokenizer: CaptionTokenizer,
        fusion: nn.Module | None = None,
        num_query_token: int = 32,
        embed_dim: int = 256,
        loss_options: LossOptions = LossOptions(),
        **base_options: Any,
    ) -> None:
        super().__init__(**base_options)
        hidden = qformer.config.hidden_size
        std = qformer.config.initializer_range
        self.tokenizer = tokenizer
        self.loss_options = loss_options
        self.visual_encoder = visual_encoder.requires_grad_(False).eval()
        self.ln_vision = nn.LayerNorm(visual_encoder.num_features)
        self.fusion = fusion
        self.Qformer = qformer
        self.query_tokens = nn.Parameter(torch.randn(1, num_query_token, hidden) * std)
        self.prompt_tokens = nn.Parameter(torch.randn(1, num_query_token, hidden) * std)
        self.vision_proj = nn.Linear(hidden, embed_dim)
        self.text_proj = nn.Linear(hidden, embed_dim)
        self.itm_head = nn.Linear(hidden, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))
        self.patch_proj = nn.Linear(visual_encoder.num_features, embed_dim) if loss_options.weight_patch else None
        self._freeze_parts_without_use()

    def _freeze_parts_without_use(self) -> None:
        """The language-model and matching heads are kept for checkpoints, but get no gradient (DDP would wait)."""
        self.itm_head.requires_grad_(False)
        heads = self.Qformer.cls.predictions
        heads.transform.requires_grad_(False)
        heads.bias.requires_grad_(False)
        if heads.decoder.bias is not None:
            heads.decoder.bias.requires_grad_(False)

    def train(self, mode: bool = True) -> ComposedRetrievalNetwork:
        """As ``nn.Module.train``; the frozen encoder stays in eval mode."""
        super().train(mode)
        self.visual_encoder.eval()
        return self

    def image_tokens(self, images: Tensor) -> Tensor:
        """Tokens after ``ln_vision``: ``images`` (B, 3, S, S), or raw tokens (B, L, D) from a cache -> (B, L, D)."""
        if images.dim() == 4:
            half = getattr(self.visual_encoder, "precision", "fp32") == "fp16" and images.device.type != "cpu"
            with torch.no_grad(), torch.autocast(images.device.type, torch.float16, enabled=half):
                images = self.visual_encoder(images)
        return self.ln_vision(images.float())

    def tokenize(self, captions: Sequence[str]) -> TextBatch:
        """Token ids and mask on the model's device."""
        return self.tokenizer(captions, self.query_tokens.device)

    def guided_tokens(self, tokens: Tensor, text: TextBatch) -> Tensor:
        """Reference tokens (B, L, D) after the fusion; the same in training and at inference."""
        if self.fusion is None:
            return tokens
        words = self.Qformer.bert.embeddings(input_ids=text.input_ids)
        return self.fusion(tokens, words, context_mask=text.mask)

    def query_mask(self, text: TextBatch) -> Tensor:
        """Mask (B, Q + T): every query token, then the text's own mask."""
        return F.pad(text.mask, (self.query_tokens.shape[1], 0), value=True)

    def compose(self, tokens: Tensor, text: TextBatch) -> tuple[Tensor, Tensor]:
        """Reference tokens (B, L, D) and text -> unit query vectors (B, E) and fused query states (B, Q, H)."""
        bert, mask = self.Qformer.bert, self.query_mask(text)
        queries = self.query_tokens.expand(len(tokens), -1, -1)
        fused = fuse_queries(bert, queries, self.guided_tokens(tokens, text), text.input_ids, mask)
        states = run_text_path(bert, bert.embeddings(input_ids=text.input_ids, query_embeds=fused), mask)
        return F.normalize(self.text_proj(states[:, queries.shape[1]]), dim=-1), fused

    def embed_targets(self, tokens: Tensor) -> Tensor:
        """Target tokens (B, L, D) -> unit target vectors (B, Q, E)."""
        queries = self.query_tokens.expand(len(tokens), -1, -1)
        return F.normalize(self.vision_proj(fuse_queries(self.Qformer.bert, queries, tokens)), dim=-1)

    def embed_prompted_text(self, text: TextBatch) -> Tensor:
        """The caption alone, with the prompt tokens in the image's place -> unit vectors (B, E)."""
        bert = self.Qformer.bert
        prompt = self.prompt_tokens.expand(len(text.input_ids), -1, -1)
        # upstream hands over the mask of [queries | text], though here [CLS] stands first; both start with True
        states = run_text_path(bert, embed_prompted_text(bert, text.input_ids, prompt), self.query_mask(text))
        return F.normalize(self.text_proj(states[:, 0]), dim=-1)

    def losses(
        self, reference: Tensor, target: Tensor, captions: Sequence[str] | TextBatch, target_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Unweighted losses of a batch (SPRC, section 3.3); see :class:`LossOptions` for which.

        Args:
            reference: images (B, 3, S, S) or raw tokens (B, L, D); likewise ``target``.
            captions: B captions, or their tokens.
            target_ids: (B,) which picture each target is; needed for ``mask_duplicates``.
        """
        options = self.loss_options
        self._project_temperature()
        text = captions if isinstance(captions, TextBatch) else self.tokenize(captions)
        query, fused = self.compose(self.image_tokens(reference), text)
        target_tokens = self.image_tokens(target)
        targets = gather_with_grad(self.embed_targets(target_tokens))
        columns = own_columns(len(query), query.device)
        ignore = None
        if options.mask_duplicates and target_ids is not None:
            ignore = loss_fn.duplicate_mask(target_ids, gather_with_grad(target_ids), columns)

        def contrast(similarity: Tensor) -> Tensor:
            return loss_fn.contrastive_loss(similarity / self.temp, columns, ignore, options.hard_negative_beta)

        result = {"loss_itc": contrast(loss_fn.max_token_similarity(query, targets))}
        if options.weight_rtc:
            result["loss_rtc"] = contrast(loss_fn.max_token_similarity(self.embed_prompted_text(text), targets))
        if options.weight_align:
            prompt = self.prompt_tokens.detach().mean(dim=1).expand(len(query), -1)
            result["loss_align"] = F.mse_loss(fused.mean(dim=1), prompt)
        if self.patch_proj is not None:
            patches = F.normalize(self.patch_proj(target_tokens), dim=-1)
            result["loss_patch"] = contrast(loss_fn.max_token_similarity(query, gather_with_grad(patches)))
        return result

    def _project_temperature(self) -> None:
        """Keep the temperature above its floor, once and before any loss has saved it for its backward pass.

        A projection, not a clamp in the graph: a clamped parameter would get no gradient and never come back.
        """
        if self.training and self.loss_options.temperature_floor:
            with torch.no_grad():
                self.temp.clamp_(min=self.loss_options.temperature_floor)
