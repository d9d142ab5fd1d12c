"""How a stage tells the person where it stands, and hears that it should stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes
    ----------
    stage : str
        Name of the stage, one of `pipeline.run.STAGES`.
    fraction : float
        0 to 1 within the stage.
    message : str
        The work in words ("Finding the hand in camera front").
    warning : bool
        The message is a warning that belongs into the run's record.
    """

    stage: str
    fraction: float
    message: str
    warning: bool = False


@dataclass
class Reporter:
    """Handed to every stage. Reports progress and raises `Cancelled` at the next checkpoint.

    Attributes
    ----------
    stage : str
        The stage that reports.
    listen : callable
        Called with a `Progress` at each report; by default nobody listens.
    is_cancelled : callable
        Answers whether the person asked to stop.
    warnings : list of str
        Everything said through `warn`, for ``run.json``.
    """

    stage: str = ""
    listen: Callable[[Progress], None] = lambda progress: None
    is_cancelled: Callable[[], bool] = lambda: False
    warnings: list[str] = field(default_factory=list)

    def update(self, fraction: float, message: str = "") -> None:
        """Report how far the stage is (0 to 1); also a checkpoint for cancelling."""
        self.check()
        self.listen(Progress(self.stage, min(max(float(fraction), 0.0), 1.0), message))

    def warn(self, message: str) -> None:
        """Say something that the person should know but that does not stop the run."""
        self.warnings.append(message)
        self.listen(Progress(self.stage, float("nan"), message, warning=True))

    def check(self) -> None:
        """Raise `pipeline.errors.Cancelled` if the person asked to stop."""
        if self.is_cancelled():
            raise Cancelled

    def part(self, start: float, end: float) -> Reporter:
        """A reporter for a piece of this stage: its 0 to 1 is ``start`` to ``end`` of ours."""
        outer = self

        class _Part(Reporter):
            def update(self, fraction: float, message: str = "") -> None:
                outer.update(start + (end - start) * min(max(float(fraction), 0.0), 1.0), message)

            def warn(self, message: str) -> None:
                outer.warn(message)

            def check(self) -> None:
                outer.check()

        return _Part(stage=self.stage)
