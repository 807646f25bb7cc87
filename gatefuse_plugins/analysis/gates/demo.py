"""A model to look at without one's own: QD-DETR with gates, trained for a moment on a small embedded event set."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "qvhighlights_avigate_clipwise.py"
"""One gate a clip: it can be read against the clips whose sound is known not to belong to the picture."""


SAMPLES = 12
"""Samples with pictures of their own, unless another number is asked for."""
SCOPES = ("all", "kind")
"""Gates that are intervened on together: each alone would take three times as long."""
METRICS = ("HL-min-VeryGood-mAP", "MR-full-mAP")
"""What interventions are judged by; saliency is learned first."""
NOTE = (
    "This is the demonstration's model, trained for some 200 steps. By then a gate of its second layer begins to know"
    " whether the sound belongs to the picture (see the AUC below), and the model ranks clips by saliency;"
    " it finds few moments as yet."
)


def demo_options(folder: Path) -> list[str]:
    """``--cfg-options`` of the demonstration; its data set is made in ``folder``."""
    sizes = {"num_train_videos": 64, "num_val_videos": 24, "num_test_videos": 4}
    narrow = {"batch_size": 16, "max_epochs": 10, "lr_drop": 8, "val_interval": 5}
    return [
        "profile=embedded",
        f"data_root={folder / 'none'}",
        f"embedded.root={folder / 'events'}",
        *(f"embedded.{name}={value}" for name, value in sizes.items()),
        *(f"profiles.embedded.{name}={value}" for name, value in narrow.items()),
    ]
