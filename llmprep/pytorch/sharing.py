"""Which loaders share a sampler's windows out a second time, and that none does so unnoticed."""

from __future__ import annotations

import sys
from types import FrameType

from llmprep.errors import UsageError

SHARERS = {"BatchSamplerShard", "DataLoaderDispatcher"}
"""What accelerate's loaders go over a sampler with, if there are several processes."""


def refuse_second_sharing(world_size: int) -> None:
    """Raise `UsageError` if what asks for the windows of one rank shares them out among processes once more.

    accelerate's ``prepare`` wraps a loader and tells neither sampler nor data set that it has: it is known among the
    callers.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_globals.get("__name__") == "accelerate.data_loader" and _shares(frame.f_locals.get("self")):
            raise UsageError(
                f"world_size {world_size}: accelerate's prepare shares the batches of this loader out, so each process "
                f"would get only a part of its rank's; do not prepare the loader, or leave out rank and world_size"
            )
        frame = frame.f_back


def _shares(asking: object) -> bool:
    processes = getattr(asking, "num_processes", getattr(getattr(asking, "state", None), "num_processes", 1))
    return type(asking).__name__ in SHARERS and processes > 1
