"""What goes wrong in words that a person can act on."""

from __future__ import annotations


class RedysError(Exception):
    """An expected failure: what happened, and what to do about it.

    Parameters
    ----------
    what : str
        What happened, naming the file or the camera.
    advice : str
        What the person can do about it.

    The two are kept apart so that a page can set them apart; ``str()`` joins them.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what = what
        self.advice = advice


class SessionError(RedysError):
    """The session folder cannot be worked as it is."""


class VideoError(RedysError):
    """A video file cannot be opened, decoded or written."""


class SyncError(RedysError):
    """The cameras cannot be brought onto one clock."""


class PoseError(RedysError):
    """No hand, or no network to find it with."""


class CalibrationError(RedysError):
    """The cameras' positions or lenses cannot be worked out."""


class FusionError(RedysError):
    """The views cannot be brought together into one hand."""


class MeasureError(RedysError):
    """A measure cannot be taken from this recording."""


class ModelError(RedysError):
    """A hand model or a network's weights are missing or not what they should be."""


class PhotoError(RedysError):
    """A picture, or a set of pictures, cannot be worked as it is."""


class DatasetError(RedysError):
    """A data set, or predictions for it, is not laid out as its makers say."""


class RunFolderError(RedysError):
    """A run folder is missing a part, is of another schema, or cannot be written."""


class Cancelled(Exception):
    """The person asked the run to stop; what is finished stays on disk."""
