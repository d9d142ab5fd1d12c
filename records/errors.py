"""What can go wrong with what is kept."""

from __future__ import annotations

from pipeline.errors import RedysError


class NotFound(RedysError):
    """There is no such recording, run, person or file, or it is not this user's to see."""


class DatabaseError(RedysError):
    """The database cannot be opened or used."""


class UserError(RedysError):
    """A user cannot be added as asked."""


class AuditError(RedysError):
    """The audit is not what was written, or cannot be compared as asked."""


class RetentionError(RedysError):
    """A recording or person cannot be put away, kept or erased as asked."""


class LiveRunError(RetentionError):
    """A run of the recording waits or is at work."""

    def __init__(self) -> None:
        super().__init__(
            "A run of this recording waits or is at work.", "Cancel it, or wait until it has ended."
        )


class MaintenanceError(RedysError):
    """A backup cannot be made, checked or restored as asked."""


class RigError(RedysError):
    """A rig cannot be kept, named or used as asked."""


class ScoreError(RedysError):
    """A clinical score cannot be kept as entered."""


class MarkError(RedysError):
    """A mark cannot be set as asked."""


class ShareError(RedysError):
    """Something cannot be shared as asked."""


class UploadError(RedysError):
    """A file cannot be taken; ``status`` is the HTTP answer that says so."""

    def __init__(self, what: str, advice: str = "", status: int = 400) -> None:
        super().__init__(what, advice)
        self.status = status


class StoreError(RedysError):
    """The store of recordings and runs cannot do what was asked."""


class StoreAway(StoreError):
    """The store does not answer, or refuses: it may pass by itself."""


class StoreMissing(StoreError):
    """Something that was kept is not in the store."""


class StoreBusy(StoreError):
    """Somebody else is changing or sending the same files; it passes by itself."""


class NotKeptYet(StoreError):
    """The newest files are on another machine, which has not sent them to the store yet."""


class QueueError(RedysError):
    """Work cannot be handed to other machines as this one is set up."""
