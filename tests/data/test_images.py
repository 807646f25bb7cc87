"""Reading pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.errors import DataError


def test_a_truncated_picture_is_refused_even_where_pillow_was_made_lenient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match=r"cut\.png: not a readable image"):
        read_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES, "the process-wide setting is not ours to change"
    path.write_bytes(whole)
    assert read_image(path).size == (40, 40)
