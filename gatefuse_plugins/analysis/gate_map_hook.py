"""Validation-time hook: gate maps of a few queries, epoch after epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from gatefuse_plugins.analysis.gates.gate_map import GateMap, add_retrievals, compose_queries
from gatefuse_plugins.analysis.gates.plots.gate_maps import draw_gate_maps
from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class GateMapHook(Hook):
    """Write ``WORK_DIR/gate_maps/epoch_N/{id}.png`` at validation, for the first queries of the validation set.

    Costs one forward of each query; the gallery is scored as the evaluation encodes it. Model outputs, training and
    random state stay as they are without the hook. A model without fusion, other data and a missing matplotlib are
    said once, in one line, and training goes on.

    Args:
        every: epochs between pictures.
        samples: number of queries, or their rows.
        top_k: best gallery images to show; 0 for none.
        grid: (height, width) of the image tokens, where they are no square.
        folder: in the work dir.

    Raises:
        ConfigError: ``every`` or ``samples`` is below 1.
    """

    priority = "VERY_HIGH"  # before the model sees the gallery

    def __init__(
        self,
        every: int = 1,
        samples: int | Sequence[int] = 4,
        top_k: int = 5,
        grid: tuple[int, int] | None = None,
        folder: str = "gate_maps",
    ) -> None:
        if every < 1 or (isinstance(samples, int) and samples < 1):
            raise ConfigError(f"GateMapHook: every={every}, samples={samples}; expected whole numbers from 1")
        self.every, self.samples, self.top_k, self.grid, self.folder = every, samples, top_k, grid, folder
        self._said = False
        self._rows: list[int] = []
        self._maps: list[GateMap] = []
        self._queries, self._scores = torch.empty(0, 0), torch.empty(0, 0)

    def before_val_epoch(self, runner: Runner) -> None:
        """Run the queries; a later batch of the evaluation scores them against the gallery images that it holds."""
        self._maps, self._rows = [], []
        dataset: Any = runner.val_dataloader.dataset
        if runner.epoch % self.every or not self._possible(runner, dataset):
            return
        known = len(dataset.metainfo["reference"])
        self._rows = list(range(min(self.samples, known)) if isinstance(self.samples, int) else self.samples)
        # of this size on every rank, also where one cannot read its pictures
        self._scores = torch.full((len(self._rows), len(dataset.metainfo["gallery"])), -math.inf)
        model = unwrapped(runner.model, compiled=True)
        training = model.training
        model.eval()
        try:
            self._maps, self._queries = compose_queries(model, dataset, self._rows, self.grid)
        except GatefuseError as error:
            self._say_once(runner, str(error))
        finally:
            model.train(training)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Score the gallery images of this batch."""
        for found in outputs if self._maps and self.top_k > 0 else ():
            if "image_features" in found:
                images: Tensor = found["image_features"]
                queries = self._queries.to(images.device)
                self._scores[:, found["image_index"].cpu()] = max_token_similarity(queries, images).cpu()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw, on the main process."""
        if not self._rows:
            return
        all_reduce(self._scores, "max")  # each rank has scored its share of the gallery
        maps, self._maps, rows, self._rows = self._maps, [], self._rows, []
        if not maps or not is_main_process():
            return
        if self.top_k > 0 and not bool(self._scores.isneginf().any()):
            maps = add_retrievals(maps, runner.val_dataloader.dataset, rows, self._scores, self.top_k)
        folder = Path(runner.work_dir, self.folder, f"epoch_{runner.epoch}")
        runner.logger.info(f"{len(draw_gate_maps(maps, folder))} gate maps written to {folder}")

    def _possible(self, runner: Runner, dataset: Any) -> bool:
        if not isinstance(dataset, ComposedRetrievalDataset):
            self._say_once(runner, f"a {type(dataset).__name__} has no reference images")
            return False
        if find_spec("matplotlib") is None:
            self._say_once(runner, "matplotlib is missing; pip install 'gatefuse-plugins[report]'")
            return False
        return True

    def _say_once(self, runner: Runner, reason: str) -> None:
        if not self._said:
            runner.logger.warning(f"no gate maps: {reason.removeprefix('gate maps: ')}")
        self._said = True
