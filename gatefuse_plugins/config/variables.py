"""The keys that may stand at the top level of a config, and what each is for."""

from __future__ import annotations

import inspect

from mmengine.runner import Runner

PROJECT_VARIABLES: dict[str, str] = {
    "data_root": "folder of the dataset; the embedded set is made there where it holds none",
    "dataset": "name of the dataset that the leaf is about",
    "embedded": "options of the embedded set that stands in where data_root holds no real one (None: never)",
    "features": "features of frozen encoders on disk: options, or a path once prepared (None: run the encoders)",
    "transform": "image transform shared by the dataloaders and the feature cache",
    "backbone": "name of the entry of `backbones` in use",
    "backbones": "vision and text settings by backbone name",
    "profile": "entry of `profiles` in use: auto (by what data_root holds), real or embedded",
    "profiles": "sizes and schedule that fit the real data set, and those that fit the embedded one",
    "fusion": "fusion that the host carries (None: the ungated arm)",
    "prepare": "options of the preparation that runs before the Runner",
    "dataset_identity": "written by the preparation: which data the figures belong to",
    "seed": "seed of everything random",
    "max_epochs": "training length in epochs",
    "max_steps": "training length in optimiser steps",
    "batch_size": "samples in a batch on each rank",
    "num_workers": "loader processes on each rank",
    "group_size": "consecutive samples of a batch that come from one cluster",
    "lr": "peak learning rate",
    "pct_start": "share of the schedule in which the learning rate rises",
    "warmup_epochs": "epochs in which the learning rate rises",
    "val_videos": "training videos held out for validation",
    "schedule_epochs": "epochs that the learning-rate schedule spans",
    "save_best": "metric that selects the best checkpoint",
    "log_interval": "steps between log lines",
    "checkpoint_interval": "steps between checkpoints",
    "image_size": "height and width of the images in pixels",
    "target_ratio": "aspect ratio above which targetpad pads",
    "pretrained": "checkpoint that the model starts from (None: from scratch)",
    "lr_drop": "epoch after which the learning rate falls to a tenth",
    "weight_decay": "weight decay of the optimizer",
    "grad_clip": "largest gradient norm",
    "domain": "TVSum domain, one of BK BT DS FM GA MS PK PR VT VU",
    "video_features": "video feature folders, by name or path (None: those found)",
    "text_features": "text feature folder, by name or path (None: the one found)",
    "audio_features": "audio feature folder, by name or path (None: the one found)",
    "packed": "folder that tools/pack_features.py wrote (None: feature files)",
    "clip_length": "seconds of one video clip",
    "val_interval": "epochs between validations",
    "max_v_l": "clips of a video that are used",
    "max_q_l": "text tokens that are used",
    "missing_audio": "what a video without audio file means: error or no_audio",
    "submission_file": "where the predictions of an evaluation are written",
    "weights": "local paths of pre-trained weights",
}
"""Interpolation sources and settings of the preparation. A name that starts with ``_`` is private to its config file
and needs no entry here."""

RUNNER_VARIABLES: dict[str, str] = {
    "custom_imports": "modules imported when the config is loaded",
    "runner_type": "registered Runner class",
    "strategy": "FlexibleRunner strategy",
    "model_wrapper_cfg": "wrapper of the model under distributed training",
    "find_unused_parameters": "DistributedDataParallel option",
    "broadcast_buffers": "DistributedDataParallel option",
    "detect_anomalous_params": "MMDistributedDataParallel option",
    "sync_bn": "replace batch norms: 'torch' or 'mmcv'",
    "compile": "torch.compile options",
    "activation_checkpointing": "modules whose activations are recomputed",
    "tta_model": "test-time augmentation model",
    "tta_pipeline": "test-time augmentation transforms",
}
"""Keys that mmengine 0.10 reads from ``runner.cfg`` besides the Runner's own parameters."""


def runner_parameters() -> frozenset[str]:
    """Names of the parameters of ``mmengine.runner.Runner`` that a config states."""
    return frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}


def known_variables() -> frozenset[str]:
    """Every name that may stand at the top level of a config."""
    return runner_parameters() | frozenset(PROJECT_VARIABLES) | frozenset(RUNNER_VARIABLES)
