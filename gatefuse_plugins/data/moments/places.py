"""Where QVHighlights and TVSum lie: annotation files and feature folders, under the names in circulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.errors import ConfigError, nearest

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """Names of one data set's files.

    Attributes:
        label: name for messages and identities.
        annotations: split -> file name. The first two are what a complete copy has.
        annotation_folders: below the data root, in order of search.
        feature_folders: below the data root, all searched.
        families: modality -> family -> names of its folder in circulation (official and UMT's releases).
        templates: modality -> file names of one item; several are concatenated along features.
        keys: modality -> array inside an ``.npz``; None for ``.npy``.
    """

    label: str
    annotations: dict[str, str]
    annotation_folders: tuple[str, ...]
    feature_folders: tuple[str, ...]
    families: dict[str, dict[str, tuple[str, ...]]]
    templates: dict[str, tuple[str, ...]]
    keys: dict[str, str | None]


def _circulating(name: str) -> tuple[str, ...]:
    return name, f"umt_{name}"


LAYOUTS = {
    "qvhighlights": Layout(
        label="QVHighlights",
        annotations={
            "train": "highlight_train_release.jsonl",
            "val": "highlight_val_release.jsonl",
            "test": "highlight_test_release.jsonl",
            "test_with_gt": "highlight_test_with_gt.jsonl",
            "subs_train": "subs_train.jsonl",
        },
        annotation_folders=("", "data"),
        feature_folders=("features", "", "../features"),
        families={
            "video": {"slowfast": _circulating("slowfast_features"), "clip": _circulating("clip_features")},
            "text": {"clip_text": _circulating("clip_text_features")},
            "audio": {"pann": _circulating("pann_features")},
            "subtitles": {"clip_sub": _circulating("clip_sub_features")},
        },
        templates={"video": ("{}.npz",), "text": ("qid{}.npz",), "audio": ("{}.npy",), "subtitles": ("qid{}.npz",)},
        keys={"video": "features", "text": "last_hidden_state", "audio": None, "subtitles": "last_hidden_state"},
    ),
    "tvsum": Layout(
        label="TVSum",
        annotations={"train": "tvsum_train.jsonl", "val": "tvsum_val.jsonl"},
        annotation_folders=("", "data", "data/tvsum", "tvsum"),
        feature_folders=("features/tvsum", "features", "", "../features/tvsum", "tvsum"),
        families={
            "video": {"i3d": ("video_features",)},
            "text": {"query": ("query_features",)},
            "audio": {"pann": ("audio_features",)},
        },
        templates={"video": ("{}_rgb.npy", "{}_opt.npy"), "text": ("{}.npz",), "audio": ("{}.npy",)},
        keys={"video": None, "text": "token", "audio": None},
    ),
}


def annotation_file(kind: str, data_root: str | Path, split: str) -> Path:
    """The annotation file of ``split``: the first that exists, else where it is expected.

    Raises:
        ConfigError: unknown ``kind`` or ``split``.
    """
    check_choice("kind", kind, tuple(LAYOUTS))
    layout = LAYOUTS[kind]
    check_choice("split", split, tuple(layout.annotations))
    places = [Path(data_root) / folder / layout.annotations[split] for folder in layout.annotation_folders]
    return next((place for place in places if place.is_file()), places[0])


def moment_files(kind: str, data_root: str | Path) -> list[Path]:
    """The annotation files of train and val, which every complete copy has; test and subtitles are optional."""
    return [annotation_file(kind, data_root, split) for split in ("train", "val")]


def family_folders(kind: str, data_root: str | Path, modality: str, family: str) -> list[Path]:
    """Every existing folder of one family of features below (or, upstream's way, beside) the data root."""
    layout = LAYOUTS[kind]
    return _existing(_roots(layout, Path(data_root)), layout.families[modality][family])


def feature_folders(
    kind: str,
    data_root: str | Path,
    modality: str,
    wanted: str | Path | Sequence[str | Path],
    faults: Faults,
    packed: str | Path | None = None,
) -> list[Path]:
    """The feature folders to use for ``modality``; what is absent or ambiguous goes to ``faults``.

    Args:
        kind: ``qvhighlights`` or ``tvsum``.
        data_root: the data root.
        modality: ``video``, ``text``, ``audio`` or ``subtitles``.
        wanted: ``"auto"``: one folder of every family of the modality. Else names or paths, used as given.
        faults: collects what is wrong.
        packed: root of packed stores, searched instead; paths then stand for the stores of that name.

    Raises:
        ConfigError: ``wanted`` is empty.
    """
    layout = LAYOUTS[kind]
    roots = _roots(layout, Path(data_root)) if packed is None else [Path(packed)]
    tried = ", ".join(str(root) for root in roots)
    if wanted == AUTO:
        found = []
        for names in layout.families[modality].values():
            candidates = _existing(roots, names)
            if len(candidates) > 1:
                listed = ", ".join(map(str, candidates))
                faults.add(f"ambiguous {modality} feature folders; choose one with {modality}_features=", listed)
            elif not candidates:
                expected = f"{' or '.join(names)} in one of {tried}"
                faults.add(f"{modality} feature folders not found (or choose with {modality}_features=)", expected)
            found += candidates[:1]
        return found
    chosen = [wanted] if isinstance(wanted, str | Path) else list(wanted)
    if not chosen:
        raise ConfigError(f"{modality}_features is empty, expected folder names, paths or {AUTO!r}")
    names_or_paths = chosen if packed is None else [Path(name).name for name in chosen]
    return [_one_folder(roots, name, modality, faults) for name in names_or_paths]


def _roots(layout: Layout, data_root: Path) -> list[Path]:
    return [data_root / folder for folder in layout.feature_folders]


def _existing(roots: Sequence[Path], names: Sequence[str]) -> list[Path]:
    found = [root / name for root in roots for name in names if (root / name).is_dir()]
    return list({folder.resolve(): folder for folder in reversed(found)}.values())[::-1]


def _one_folder(roots: Sequence[Path], name: str | Path, modality: str, faults: Faults) -> Path:
    found = _existing(roots, (str(name),))
    if not found and Path(name).is_dir():
        found = [Path(name)]
    if len(found) > 1:
        faults.add(f"ambiguous {modality}_features; give the path", ", ".join(map(str, found)))
    elif not found:
        present = [entry.name for root in roots if root.is_dir() for entry in root.iterdir() if entry.is_dir()]
        near = nearest(Path(name).name, present)
        hint = f"{name} (there are: {', '.join(near)})" if near else f"{name} (in none of {', '.join(map(str, roots))})"
        faults.add(f"{modality} feature folders not found", hint)
    return found[0] if found else Path(name)
