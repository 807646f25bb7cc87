from __future__ import annotations

import pytest
from mmengine.hooks import Hook
from torch.utils.data import DataLoader
from toy_training import BATCH, EPOCHS, SAMPLES, STEPS_PER_EPOCH, ToySampler, ToySet, build_runner

from gatefuse_plugins.engine.hooks.step_seed import FETCH, STEP, step_seeds
from gatefuse_plugins.engine.loop import ResumableEpochLoop
from gatefuse_plugins.errors import CheckpointError, ConfigError, DataError


class Trace(Hook):
    def __init__(self):
        self.steps, self.validations = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps.append((runner.epoch, batch_idx, runner.iter))

    def after_val_epoch(self, runner, metrics=None):
        self.validations.append((runner.epoch, runner.iter))


def test_max_steps_ends_inside_an_epoch_with_a_validation(tmp_path):
    trace = Trace()
    runner = build_runner(tmp_path, [trace], train_cfg={"max_steps": STEPS_PER_EPOCH + 3})
    runner.train()
    assert len(trace.steps) == STEPS_PER_EPOCH + 3
    assert trace.steps[-1] == (1, 2, STEPS_PER_EPOCH + 2)
    assert trace.validations == [(1, STEPS_PER_EPOCH), (2, STEPS_PER_EPOCH + 3)]
    assert (tmp_path / f"iter_{STEPS_PER_EPOCH + 3}.pth").is_file()
    assert runner.train_dataloader.sampler.start == 0


def test_resumed_counters_that_do_not_fit_are_refused(tmp_path):
    runner = build_runner(tmp_path)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._epoch, runner.train_loop._iter = 1, 3
    with pytest.raises(CheckpointError, match=f"step 3 in epoch 1.*epochs of {STEPS_PER_EPOCH} steps"):
        runner.train_loop.steps_done_in_epoch()


def test_mid_epoch_start_skips_the_samples_already_used(tmp_path):
    runner = build_runner(tmp_path, [trace := Trace()])
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._epoch, runner.train_loop._iter = EPOCHS - 1, STEPS_PER_EPOCH * (EPOCHS - 1) + 6
    runner.train()
    assert [index for _, index, _ in trace.steps] == [6, 7]
    assert trace.validations == [(EPOCHS, EPOCHS * STEPS_PER_EPOCH)]


def test_checkpoint_of_an_epochs_last_step_resumes_at_its_validation(tmp_path):
    runner = build_runner(tmp_path, [trace := Trace()])
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._epoch, runner.train_loop._iter = 0, STEPS_PER_EPOCH
    runner.train()
    assert trace.validations[0] == (1, STEPS_PER_EPOCH)
    assert trace.steps[0] == (1, 0, STEPS_PER_EPOCH)
    assert len(trace.steps) == (EPOCHS - 1) * STEPS_PER_EPOCH


@pytest.mark.parametrize(
    ("loader", "options", "error", "message"),
    [
        (DataLoader(ToySet(), batch_size=BATCH), {}, ConfigError, "SequentialSampler has no attribute `start`"),
        (DataLoader(ToySet(), batch_size=BATCH, sampler=ToySampler()), {"max_steps": 0}, ConfigError, "max_steps"),
        (
            DataLoader(ToySet(), batch_size=SAMPLES + 1, sampler=ToySampler(), drop_last=True),
            {},
            DataError,
            "make no batch",
        ),
    ],
)
def test_faults_are_reported_before_training(tmp_path, loader, options, error, message):
    runner = build_runner(tmp_path)
    with pytest.raises(error, match=message):
        ResumableEpochLoop(runner, loader, max_epochs=1, **options)


def test_step_seeds_differ_by_every_argument():
    base = step_seeds(7, 3, 0)
    others = [step_seeds(8, 3, 0), step_seeds(7, 4, 0), step_seeds(7, 3, 1), step_seeds(7, 3, 0, FETCH)]
    assert base == step_seeds(7, 3, 0, STEP)
    assert len({base, *others}) == 5
