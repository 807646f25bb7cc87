"""One setting of every arm swept over several values, such as the ten domains of TVSum."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatefuse_plugins.errors import ConfigError

AVERAGE = "average"
"""Names the row over all values of a sweep, so no value can be called that."""

_FOLDER_NAME = re.compile(r"[\w+-][\w.+-]*")


@dataclass(frozen=True)
class Sweep:
    """``key`` is a dotted config key, ``values`` the texts that ``--cfg-options`` gives it, in order.

    Raises:
        ConfigError: the key is the seed's, there is no value, or one is repeated or cannot name a folder.
    """

    key: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = [f"{value!r} is given twice" for value in set(self.values) if self.values.count(value) > 1]
        unfit = [value for value in self.values if not _FOLDER_NAME.fullmatch(value) or value == AVERAGE]
        faults += [f"{value!r} cannot name a folder of runs; expected letters, digits and _ . + -" for value in unfit]
        if self.key == "seed":
            faults.append("seeds are swept by --seeds")
        if not self.key or not self.values:
            faults.append("expected KEY=VALUE,VALUE,... such as domain=BK,BT")
        if faults:
            raise ConfigError(f"--sweep {self.key}={','.join(self.values)}: {'; '.join(sorted(faults))}")

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """From ``KEY=VALUE,VALUE,...``."""
        key, _, values = text.partition("=")
        return cls(key.strip(), tuple(value.strip() for value in values.split(",")) if values else ())
