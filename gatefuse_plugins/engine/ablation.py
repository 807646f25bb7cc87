"""Arms times seeds, and times swept values: each run is a process; an interrupted ablation is taken up again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatefuse_plugins.engine.ablation_sweep import Sweep
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import read_json, write_json

METRICS_FILE = "metrics.json"
TRAINING_LOG = "training_log.csv"
_RECORD = "ablation_run.json"


@dataclass(frozen=True)
class AblationRun:
    """One training of the ablation.

    Attributes:
        arm: name of the arm, the stem of its config.
        config: config file of the arm.
        seed: overrides the config's ``seed``.
        work_dir: ``<ablation>/<arm>/seed_<seed>``, in a sweep ``<ablation>/<arm>/<value>/seed_<seed>``.
        options: further ``--cfg-options``; but for a sweep's the same for every run.
        value: of the swept key; None without a sweep.
    """

    arm: str
    config: Path
    seed: int
    work_dir: Path
    options: tuple[str, ...] = ()
    value: str | None = None

    def __str__(self) -> str:
        return ", ".join([self.arm, *([self.value] if self.value else []), f"seed {self.seed}"])

    def finished(self) -> bool:
        """Whether the run has trained to its end, by its ``metrics.json``."""
        path = self.work_dir / METRICS_FILE
        return path.is_file() and bool(read_json(path).get("finished"))

    def command(self, train_script: Path) -> list[str]:
        """The process to start; it resumes where a checkpoint exists."""
        options = [*self.options, f"seed={self.seed}"]
        paths = ["--work-dir", str(self.work_dir), "--resume"]
        return [sys.executable, str(train_script), str(self.config), *paths, "--cfg-options", *options]

    def claim(self) -> None:
        """Record in the work dir what runs there, so that results of other settings are never taken for this run's.

        Raises:
            ConfigError: the work dir belongs to a run of another config text, seed or options.
        """
        wanted = {"config": self.config.read_text(encoding="utf-8"), "seed": self.seed, "options": list(self.options)}
        path = self.work_dir / _RECORD
        if path.is_file():
            found = read_json(path)
            changed = [key for key in wanted if found.get(key) != wanted[key]]
            if changed:
                raise ConfigError(
                    f"{self.work_dir}: holds a run with another {', '.join(changed)}; give another --work-dir, or "
                    f"delete that folder to train it anew"
                )
        elif self.work_dir.is_dir() and any(self.work_dir.iterdir()):
            raise ConfigError(f"{self.work_dir}: holds files but no run of an ablation; give another --work-dir")
        write_json(path, wanted)


def plan_runs(
    configs: Sequence[str | os.PathLike[str]],
    seeds: Sequence[int],
    work_dir: Path,
    options: Sequence[str] = (),
    sweep: Sweep | None = None,
) -> list[AblationRun]:
    """The runs in order: every arm with the first seed, then with the next, so that early results compare arms.

    A ``sweep`` makes one run of each of its values, inside each seed.

    Raises:
        ConfigError: a config is missing or given twice, two share a name, a seed is repeated, none is given, or an
            option sets what seeds or the sweep set.
    """
    paths = [Path(config) for config in configs]
    faults = [f"{path}: no such config file" for path in paths if not path.is_file()]
    names = [path.stem for path in paths]
    faults += [
        f"arm {name!r} is given {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1
    ]
    faults += [
        f"seed {seed} is given {seeds.count(seed)} times" for seed in sorted(set(seeds)) if seeds.count(seed) > 1
    ]
    faults += [f"option {item!r} would override the seeds; use --seeds" for item in options if item.startswith("seed=")]
    swept_key = f"{sweep.key}=" if sweep else None
    faults += [f"option {item!r} is what --sweep sets" for item in options if swept_key and item.startswith(swept_key)]
    if not paths or not seeds:
        faults.append("an ablation needs at least one config and one seed")
    if faults:
        raise ConfigError("; ".join(faults))
    return [
        AblationRun(path.stem, path, seed, work_dir / path.stem / (value or "") / f"seed_{seed}", swept, value)
        for seed in seeds
        for value in (sweep.values if sweep else (None,))
        for swept in [(*options, f"{sweep.key}={value}") if sweep else tuple(options)]
        for path in paths
    ]


def run_all(
    runs: Sequence[AblationRun], train_script: Path, announce: Callable[[str], Any] = print, jobs: int = 1
) -> list[AblationRun]:
    """Train every run that has not finished yet; a failure does not keep the others from running.

    Args:
        runs: what :func:`plan_runs` planned.
        train_script: ``tools/train.py``.
        announce: called with a line about each run.
        jobs: runs at a time. Above 1 each gets its share of the processor cores, and its output goes to
            ``console.log`` in its work dir. Results do not depend on it; wall times do.

    Returns:
        The runs that failed.

    Raises:
        ConfigError: a work dir belongs to other settings, or ``jobs`` is below 1; nothing is trained then.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: expected 1 or more")
    for run in runs:
        run.claim()

    def train(numbered: tuple[int, AblationRun]) -> bool:
        number, run = numbered
        label = f"[{number}/{len(runs)}] {run}"
        if run.finished():
            announce(f"{label}: finished before, kept")
            return True
        announce(f"{label}: {run.work_dir}")
        code = _train(run.command(train_script), run.work_dir, jobs)
        if code == 0 and run.finished():
            return True
        announce(f"{label}: failed with exit status {code}; run the same command again to resume it")
        return False

    with ThreadPoolExecutor(jobs) as pool:
        succeeded = list(pool.map(train, enumerate(runs, start=1)))
    return [run for run, good in zip(runs, succeeded, strict=True) if not good]


def _train(command: list[str], work_dir: Path, jobs: int) -> int:
    if jobs == 1:
        return subprocess.run(command, check=False).returncode
    # Threads of several trainings that share cores wait for each other far longer than they compute.
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    with open(work_dir / "console.log", "ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
