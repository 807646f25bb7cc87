"""Migration tables, one an origin: which parameters are known, what they are called here, which are left out.

The hosts keep upstream's names, so most rules keep theirs; they are written out so that a parameter that nobody thought
of is noticed. Raise ``VERSION`` with every change: it is written into each migrated file.
"""

from __future__ import annotations

from gatefuse_plugins.checkpoints.migration.rules import Rule

VERSION = 1

_QD_DETR = (
    Rule("global_rep_{token,pos}"),
    Rule("transformer.{t2v_encoder,encoder,decoder}.**"),
    Rule("txt_position_embed.**"),
    Rule("{span,class,query}_embed.**"),
    Rule("input_{txt,vid}_proj.**"),
    Rule("saliency_proj{1,2}.*"),
    Rule("contrastive_align_projection_{query,txt,vid}.*", None, "of a training loss that this host does not have"),
)
_BLIP2 = (
    Rule("query_tokens"),
    Rule("temp"),
    Rule("ln_vision.*"),
    Rule("Qformer.bert.embeddings.position_ids"),
    Rule("Qformer.{bert,cls}.**"),
    Rule("{vision,text}_proj.*"),
    Rule("itm_head.*"),
    Rule("visual_encoder.**"),
)
_SPRC = (Rule("prompt_tokens"), *_BLIP2)
_OWN = (Rule("**"),)

TABLES: dict[str, tuple[Rule, ...]] = {
    "qd_detr": _QD_DETR,
    "qd_detr_exp_tanh": (Rule("input_aud_proj.**"), Rule("fusion.fusion_layers.**"), *_QD_DETR),
    "qd_detr_exp_sigmoid": (Rule("input_aud_proj.**"), Rule("fusion.fusion_layers.**"), *_QD_DETR),
    "qd_detr_exp_other": _QD_DETR,
    "sprc": _SPRC,
    # the fork's module, whatever attribute of the model holds it
    "gated_sprc": (
        Rule("*.alpha", "fusion.alpha"),
        Rule("*.gate_net.**", "fusion.gate_net.{1}"),
        Rule("*.delta_net.**", "fusion.delta_net.{1}"),
        Rule("*.text_proj.*", "fusion.text_proj.{1}"),
        *_SPRC,
    ),
    "lavis": _BLIP2,
    "avigate": (
        Rule("query_tokens"),
        Rule("query_position_embeddings.weight"),
        Rule("frame_position_embeddings.weight"),
        Rule("transformer_Fusion.resblocks.**"),
        Rule("transformerClip.resblocks.**"),
        Rule("clip.**"),  # the encoders have tables of their own: hosts/avigate/encoders/clip4clip.py
    ),
    "gatefuse": _OWN,
    "unknown": _OWN,
}
"""Rules by origin; the first that matches a name counts."""

NEW_PARTS: dict[str, tuple[str, ...]] = {
    "qd_detr": ("input_aud_proj.**",),
    "blip2": ("prompt_tokens", "patch_proj.*"),
    "avigate": ("transformerClip.resblocks.*.{video,audio,text}_pool.score.weight",),
}
"""By family: what a new model may have beyond its gates' own parameters, as dotted globs."""
