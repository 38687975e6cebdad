"""What shares a rank's windows out among processes a second time, and that it does not do so unnoticed."""

from __future__ import annotations

import sys
from types import FrameType

from llmprep.errors import UsageError

SHARERS = {
    "BatchSamplerShard": "accelerate",
    "DataLoaderDispatcher": "accelerate",
    "DistributedSamplerWrapper": "Lightning",
    "UnrepeatedDistributedSamplerWrapper": "Lightning",
}
"""The classes that share out what a sampler gives, and whose they are."""
REMEDIES = {
    "accelerate": "do not let it prepare the loader, or leave out rank and world_size",
    "Lightning": "give its Trainer use_distributed_sampler=False",
}
LIBRARIES = {"accelerate", "lightning", "lightning_fabric", "pytorch_lightning"}


def refuse_second_sharing(world_size: int) -> None:
    """Raise `UsageError` if what asks for the windows of one rank shares them out among processes once more.

    These libraries wrap a loader and tell neither sampler nor data set that they have: they are known among the
    callers.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES:
            asking = frame.f_locals.get("self")
            library = SHARERS.get(type(asking).__name__)
            if library is not None and _processes(asking) > 1:
                raise UsageError(
                    f"world_size {world_size}: {library} shares the windows of this loader out once more, so each "
                    f"process would get only a part of its rank's; {REMEDIES[library]}"
                )
        frame = frame.f_back


def _processes(sharer: object) -> int:
    """Return among how many processes: each class has the number in a place of its own."""
    state = getattr(sharer, "state", None)
    return int(getattr(sharer, "num_processes", getattr(sharer, "num_replicas", getattr(state, "num_processes", 1))))
