"""The test split, once, at the end: the last epoch and the one that validation chose, side by side."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class FinalTestHook(Hook):
    """Score the test split with the last weights and with the best by validation.

    Choosing the epoch on the test split reports its luck as skill; here the test split is seen after the choice. The
    results go into the message hub as ``final_test``, ``{"last": metrics, "best": metrics}`` (``best`` only with
    ``save_best``), from which ``MetricsFileHook`` and ``ReportHook`` take them. The model ends with its last weights.

    Raises:
        ConfigError: before training, where the config has no test split apart from the one that validates.
        DataError: before training, what is wrong with the test split as far as can be told without decoding it.
    """

    priority = "VERY_LOW"  # before MetricsFileHook, which writes what is found

    def before_train(self, runner: Runner) -> None:
        """Check that there is something to test on, and make it ready: its faults are not to cost a training."""
        loaders = runner.cfg.get("test_dataloader"), runner.cfg.get("val_dataloader")
        if loaders[0] is None or (loaders[1] is not None and loaders[0].dataset == loaders[1].dataset):
            raise ConfigError(
                "FinalTestHook: test_dataloader.dataset is missing or the one that validates; expected another split,"
                " or leave the hook out of custom_hooks"
            )
        _ = runner.test_loop  # a property that builds data set, loader and metrics

    def after_train(self, runner: Runner) -> None:
        """Test twice, or once where the last weights are the best ones."""
        info = runner.message_hub.runtime_info
        found = {"last": _test(runner)}
        best = info.get("best_validation")
        if best and best["step"] == runner.iter:
            found["best"] = found["last"]
        elif best:
            model = unwrapped(runner.model)
            last = {name: value.clone() for name, value in model.state_dict().items()}
            try:
                model.load_state_dict(load_resumable(info["best_ckpt"], required=("state_dict",))["state_dict"])
                found["best"] = _test(runner)
            finally:
                model.load_state_dict(last)
        runner.message_hub.update_info("final_test", found)


def _test(runner: Runner) -> dict[str, float]:
    runner.logger.info("final test on split %s", runner.test_dataloader.dataset.metainfo["identity"]["split"])
    metrics: dict[str, float] = runner.test_loop.run()
    return {name: float(value) for name, value in metrics.items()}
