"""The most memory that a process held while something went on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures inside a ``with`` block: CUDA's peak where it is in use, else Linux's peak of the process.

    Attributes:
        mib: The peak in MiB, data included; NaN where the system does not tell.
    """

    mib: float = math.nan

    def __enter__(self) -> Self:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        try:
            _RESET.write_text("5")  # forgets the peak so far
        except OSError:
            self._known = False
        else:
            self._known = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if torch.cuda.is_available() and (peak := torch.cuda.max_memory_allocated()):
            self.mib = peak / 2**20
        elif self._known and (found := re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text("utf-8"), re.MULTILINE)):
            self.mib = int(found[1]) / 2**10
