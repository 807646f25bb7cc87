"""How long work says how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""Called with what is done and with the total."""


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A rich progress bar, as the ``progress`` callback of whatever takes one; unseen until its first call."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns) as bar:
        task = bar.add_task(title, total=None, visible=False)  # where all is there already, nothing is to be shown
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
