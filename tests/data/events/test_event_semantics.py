"""What the embedded events promise: consistent labels, and which stream answers which kind of query."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.data.events.features import EventFeatures
from gatefuse_plugins.data.events.queries import annotate, heard, seen, windows
from gatefuse_plugins.data.events.qvhighlights_layout import draw_annotated_video
from gatefuse_plugins.data.events.vocabulary import ACTIONS, SOUNDS, SUBJECTS
from gatefuse_plugins.errors import ConfigError

CONFIG = EventSetConfig(num_train_videos=300)


@pytest.fixture(scope="module")
def drawn():
    """(video, queries) of 300 videos."""
    return [draw_annotated_video(CONFIG, "train", index)[:2] for index in range(CONFIG.num_train_videos)]


def queries_of(drawn, kind):
    return [(video, query) for video, queries in drawn for query in queries if query.kind == kind]


def class_in(text: str, names: tuple[str, ...]) -> int:
    (found,) = [index for index, name in enumerate(names) if name in text]
    return found


def test_annotations_are_consistent(drawn):
    rng = np.random.default_rng(0)
    grades = defaultdict(int)
    for video, queries in drawn:
        assert len({query.text for query in queries}) == CONFIG.queries_per_video
        for query in queries:
            entry = annotate(query, rng)
            clips = entry["relevant_clip_ids"]
            assert [clip for start, stop in entry["relevant_windows"] for clip in range(start // 2, stop // 2)] == clips
            ends = [stop for _, stop in entry["relevant_windows"]]
            assert all(start > end for (start, _), end in zip(entry["relevant_windows"][1:], ends, strict=False))
            assert 2 <= len(clips) <= 0.6 * len(video) and ends[-1] <= 2 * len(video)
            scores = np.asarray(entry["saliency_scores"])
            assert scores.shape == (len(clips), 3)
            for grade in scores.ravel().tolist():
                grades[grade] += 1
    assert set(grades) == {1, 2, 3, 4} and min(grades.values()) > 0.005 * sum(grades.values())


def test_windows_are_the_runs_of_relevant_clips():
    assert windows(np.array([1, 0, 0, 1, 1, 1, 0, 1], bool)) == [[0, 2], [6, 12], [14, 16]]
    assert windows(np.zeros(3, bool)) == []


def test_what_answers_each_kind(drawn):
    for video, query in queries_of(drawn, "sound"):
        sound = class_in(query.text, SOUNDS)
        np.testing.assert_array_equal(query.level, np.where(video.off_topic, 0, heard(video, sound)))
    for video, query in queries_of(drawn, "sight"):
        (subject,) = [SUBJECTS.index(word) for word in query.text.split() if word in SUBJECTS]
        named = [index for index, name in enumerate(ACTIONS) if name in query.text]
        np.testing.assert_array_equal(query.level, seen(video, subject, *named))
    for video, query in queries_of(drawn, "both"):
        if "while" in query.text:
            sound = class_in(query.text.split(" while ")[0], SOUNDS)
            assert set(np.flatnonzero(query.level)) < set(np.flatnonzero(video.subject >= 0))
            assert set(np.flatnonzero(query.level)) <= set(np.flatnonzero(heard(video, sound)))
        else:
            (subject,) = [SUBJECTS.index(word) for word in query.text.split() if word in SUBJECTS]
            np.testing.assert_array_equal(query.level > 0, (seen(video, subject) > 0) | (heard(video, subject) > 0))


def test_soundtracks_are_off_topic_in_stretches_nowhere_or_throughout(drawn):
    share = np.array([video.off_topic.mean() for video, _ in drawn]).reshape(-1, 5)
    assert (share[:, 2] == 0).all() and (share[:, 4] == 1).all()
    assert share[:, [0, 1, 3]].min() >= 0.25 and share[:, [0, 1, 3]].max() <= 0.65
    assert {query.kind for video, queries in drawn if video.off_topic.all() for query in queries} == {"sight"}


def test_audio_that_is_trusted_off_topic_misleads(drawn):
    """On mixed soundtracks nearly every sound query names a sound that is also heard where it does not count."""
    wrong, right = [], []
    for video, query in queries_of(drawn, "sound"):
        if video.off_topic.any():
            there = video.sound == class_in(query.text, SOUNDS)
            wrong.append(np.count_nonzero(there & video.off_topic))
            right.append(np.count_nonzero(there & ~video.off_topic))
    assert np.mean(np.array(wrong) > 0) > 0.9
    assert 0.35 < sum(wrong) / (sum(wrong) + sum(right)) < 0.65


def test_neither_stream_alone_tells_what_is_off_topic(drawn):
    mixed = [video for video, _ in drawn if 0 < video.off_topic.mean() < 1]
    off, indoors, reverberant = (
        np.concatenate([getattr(video, name) for video in mixed]) for name in ("off_topic", "indoors", "reverberant")
    )
    for cue in (indoors, reverberant):
        assert abs(off[cue].mean() - off[~cue].mean()) < 0.06
    np.testing.assert_array_equal(off, indoors != reverberant)


def largest_t(drawn, stream) -> float:
    """Over classes of sound and features: t of the mean difference, inside minus outside the windows, over queries."""
    features, rng = EventFeatures(CONFIG), np.random.default_rng(0)
    differences = defaultdict(list)
    for video, query in queries_of(drawn, "sound"):
        array = getattr(features, stream)(video, rng)
        inside = query.level > 0
        differences[class_in(query.text, SOUNDS)].append(array[inside].mean(0) - array[~inside].mean(0))
    return max(
        float(np.abs(np.mean(found, 0) / (np.std(found, 0, ddof=1) / np.sqrt(len(found)))).max())
        for found in differences.values()
    )


def test_sound_queries_cannot_be_answered_from_the_picture(drawn):
    assert largest_t(drawn, "motion") < 5  # the largest of 576 values of t is about 3.5 by chance
    assert largest_t(drawn, "appearance") < 5
    assert largest_t(drawn, "audio") > 15


def test_pictures_and_soundtracks_know_nothing_of_each_other(drawn):
    """Also where one changes: the changes of either fall together as often as chance has it."""
    for sight, sound in (("subject", "sound"), ("indoors", "off_topic"), ("indoors", "sound")):
        expected = together = 0.0
        for video, _ in drawn:
            first = np.diff(getattr(video, sight).astype(int)) != 0
            second = np.diff(getattr(video, sound).astype(int)) != 0
            expected += first.sum() * second.mean()
            together += (first & second).sum()
        assert abs(together - expected) < 4 * np.sqrt(expected) + 1, (sight, sound)


def test_classes_read_from_features_where_noise_is_absent():
    quiet = EventSetConfig(audio_noise=0.0, video_noise=0.0)
    video, _, rng = draw_annotated_video(quiet, "val", 0)
    audio = EventFeatures(quiet).audio(video, rng)
    silent = video.sound < 0
    for flag in (True, False):  # without noise, clips of silence under the same acoustics are equal
        rows = audio[silent & (video.reverberant == flag)]
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[:1], rows.shape))
    loudness = np.linalg.norm(audio[~silent & video.reverberant] - audio[silent & video.reverberant][0], axis=1)
    np.testing.assert_allclose(loudness, 2 * video.sound_level[~silent & video.reverberant], atol=0.01)


def test_videos_too_short_for_the_queries_are_refused():
    with pytest.raises(ConfigError, match="no video of 20 to 20 clips with queries_per_video=8"):
        for index in range(40):
            draw_annotated_video(EventSetConfig(min_clips=20, max_clips=20, queries_per_video=8), "train", index)
