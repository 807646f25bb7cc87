"""Does a retrieval scorer know which pairs belong together? Two tests that honest scorers pass and leaky ones fail.

A model that lets the text into the video's embedding leaks when each video is fused with its own caption before all
texts are compared with it: text-to-video recall becomes impossibly good while video-to-text collapses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import Scores, target_ranks


class Indexable(Protocol):
    """A set whose rows an integer array selects: tensors, arrays, encoded sets."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


ScoreFunction = Callable[[Any, Any], Any]
"""``score(texts, videos) -> (N, N)``, row i text i, column j video j; an array or a tensor."""


@dataclass(frozen=True)
class RecallAtChance:
    """One recall on pairs that were drawn at random.

    Attributes:
        direction: ``text_to_video`` or ``video_to_text``.
        k: ranks that count as a hit.
        hits: queries whose assigned partner is among the first k.
        count: queries N.
        bound: most hits that chance explains: the 1 - alpha / tests quantile of Binomial(N, k / N).
    """

    direction: str
    k: int
    hits: int
    count: int
    bound: int

    @property
    def leaking(self) -> bool:
        return self.hits > self.bound


@dataclass(frozen=True)
class LeakReport:
    """Outcome of :func:`check_leakage`.

    Attributes:
        recalls: hits against chance, both directions, every k.
        position_shift: largest change of a pair's score when the texts are put in another order, relative to the spread
            (standard deviation) of all scores; 0 but for rounding where a score depends on its own pair alone.
        tolerance: largest ``position_shift`` taken for rounding.
        alpha: probability that an honest scorer fails any of the recall tests.
    """

    recalls: tuple[RecallAtChance, ...]
    position_shift: float
    tolerance: float
    alpha: float

    @property
    def depends_on_position(self) -> bool:
        """A pair's score depends on which text stands beside the video."""
        return not self.position_shift <= self.tolerance

    @property
    def leaking(self) -> bool:
        return self.depends_on_position or any(recall.leaking for recall in self.recalls)

    def __str__(self) -> str:
        lines = [
            f"{item.direction} R@{item.k}: {item.hits} of {item.count} shuffled pairs found, chance gives at most "
            f"{item.bound}{' (LEAK)' if item.leaking else ''}"
            for item in self.recalls
        ]
        lines.append(
            f"score of a pair when other texts change place: shifts by {self.position_shift:.2g} of the scores' spread,"
            f" at most {self.tolerance:.2g} is rounding{' (LEAK)' if self.depends_on_position else ''}"
        )
        verdict = "the scorer knows which text belongs to which video" if self.leaking else "no leak found"
        return "\n".join([*lines, f"{verdict} (false alarms: at most {self.alpha:g} of honest scorers)"])


def check_leakage(
    score_fn: ScoreFunction,
    texts: Indexable,
    videos: Indexable,
    ks: tuple[int, ...] = (1, 5, 10),
    alpha: float = 1e-3,
    tolerance: float = 1e-2,
    seed: int = 0,
) -> LeakReport:
    """Test a scorer for knowledge of the pairing; nothing needs to be trained.

    Every video is assigned a text that is not its own, so whatever the encoders learned cannot help: finding the
    assigned partner more often than ``bound`` means that the scorer was told. Trained models stay below chance, since
    the true partner is in the way. Hits of different queries are nearly independent, hence the binomial bound; alpha is
    divided by the number of tests (Bonferroni). Then the texts change places among themselves: scores have to move
    along with them and stay the same otherwise. That finds a leak too which an untrained model cannot turn into recall.

    Args:
        score_fn: scores every text against every video, given sets of equal size; called twice.
        texts: N texts, text i describes video i. Selected by ``texts[index]`` with an (N,) integer array.
        videos: N videos, likewise.
        ks: recalls to test.
        alpha: false alarms allowed, over all recalls together.
        tolerance: see :class:`LeakReport`; large enough for half precision.
        seed: of the assignment.

    Raises:
        DataError: fewer than 2 pairs, sets of unequal size, or scores of another shape or with NaN.
    """
    count = len(videos)
    if len(texts) != count or count < 2:
        raise DataError(
            f"{len(texts)} texts and {count} videos; expected equally many, at least 2: pair i is text i, video i"
        )
    generator = np.random.default_rng(seed)
    assigned = _derangement(count, generator)
    scores = _scores(score_fn, texts[assigned], videos, count)
    tests = 2 * len(ks)
    recalls = []
    for direction, rows in (("text_to_video", scores), ("video_to_text", scores.T)):
        ranks = target_ranks(rows, np.arange(count))
        for k in ks:
            bound = int(binom.ppf(1 - alpha / tests, count, min(1.0, k / count)))
            recalls.append(RecallAtChance(direction, k, int(np.count_nonzero(ranks <= k)), count, bound))
    order = _derangement(count, generator)
    moved = _scores(score_fn, texts[assigned[order]], videos, count)
    return LeakReport(tuple(recalls), _shift(scores[order], moved), tolerance, alpha)


def _shift(before: Scores, after: Scores) -> float:
    """Largest difference relative to the spread of the finite scores; -inf, of pruned candidates, must stay -inf."""
    finite = before[np.isfinite(before)]
    spread = float(finite.std()) if finite.size else 0.0
    changed = before != after
    return float(np.abs(after[changed] - before[changed]).max(initial=0.0)) / (spread or 1.0)


def _scores(score_fn: ScoreFunction, texts: Any, videos: Any, count: int) -> Scores:
    found = score_fn(texts, videos)
    if hasattr(found, "detach"):
        found = found.detach().cpu().double().numpy()
    scores = np.asarray(found)
    if scores.shape != (count, count):
        raise DataError(
            f"the scorer gave shape {scores.shape} for {count} texts and videos, expected ({count}, {count})"
        )
    return scores


def _derangement(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """A permutation without fixed point: one cycle through all, in random order."""
    cycle = generator.permutation(count)
    result = np.empty(count, np.int64)
    result[cycle] = np.roll(cycle, 1)
    return result
