"""From command line to a gallery index: what ``tools/index_gallery.py`` runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.data.cache_builder import module_digest
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import file_digest
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.launch_setup import load_for_evaluation, load_run_config, read_and_prepare, warn_of_changes
from gatefuse_plugins.registry import DATASETS, MODELS
from gatefuse_plugins.retrieval import GalleryIndex, check_target, encode_gallery, kind_of, write_index
from gatefuse_plugins.retrieval.encoding import item_paths


def launch_index(args: argparse.Namespace) -> GalleryIndex:
    """Encode the gallery of the config's test set with ``args.checkpoint`` and write the index ``args.out``.

    Raises:
        CheckpointError: unreadable, of another model, or trained on another vision encoder.
        ConfigError: a fault of the config, or a model whose gallery cannot be indexed.
        DataError: data is missing or faulty, or ``args.out`` holds something that must not be replaced.
    """
    check_target(args.out, args.force)
    args.work_dir = str(Path(args.out).absolute().parent)
    cfg = load_run_config(args)
    if not cfg.get("test_dataloader"):
        raise ConfigError(f"{args.config}: has no test_dataloader, whose gallery would be indexed")
    digest = file_digest(args.checkpoint)
    checkpoint, identity = read_and_prepare(cfg, args)
    model = load_model(cfg.model, checkpoint)
    warn_of_changes(checkpoint, cfg.model)
    queries = _query_model(cfg, checkpoint, model)
    kind, loader = kind_of(model), cfg.test_dataloader
    dataset = DATASETS.build(loader.dataset)
    with progress_bar(f"encoding {kind.name}s of {identity['name']} {identity['split']}") as progress:
        names, vectors = encode_gallery(model, dataset, loader.batch_size, loader.get("num_workers", 0), progress)
    header = {
        "kind": kind.name,
        "config": str(cfg.filename),
        "cfg_options": args.cfg_options or [],
        "dataset": identity,
        "checkpoint": str(Path(args.checkpoint).resolve()),
        "checkpoint_sha256": digest,
        **queries,
    }
    folder = write_index(args.out, header, names, item_paths(dataset, names), vectors.astype(args.dtype), args.force)
    return GalleryIndex.open(folder)


def load_model(config: ConfigDict, checkpoint: Checkpoint) -> nn.Module:
    """The model of ``config`` with the weights of ``checkpoint``, for evaluation.

    Raises:
        CheckpointError: the weights do not fit, or were trained on the tokens of another vision encoder.
    """
    model = MODELS.build(config)
    load_for_evaluation(model, checkpoint)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _query_model(cfg: Config, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Any]:
    """Header entries by which queries are encoded, without config file and data set."""
    config = cfg.model.to_dict()
    if not isinstance(model, ComposedRetrievalNetwork):
        return {"model": config}
    prepared = cfg.get("prepared_vision")
    if prepared is not None:  # the gallery comes from cached tokens; a new picture needs the encoder itself
        config["vision"], digest = dict(prepared["config"]), prepared["digest"]
    else:
        digest = module_digest(model.visual_encoder)
    if checkpoint.meta.get("vision_state"):
        config["vision"]["weights"] = None  # they come from the checkpoint, wherever it is taken
    return {
        "model": config,
        "vision_digest": digest,
        "token_dtype": cfg.features.get("dtype", "float16") if prepared else None,
        "transform": [dict(step) for step in cfg.test_dataloader.dataset.transform],
    }
