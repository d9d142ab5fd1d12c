"""The demo: one made person with two visits, made, worked through and taken into the worklist.

It goes the way that a clinic's recording goes (a session folder, a run that is supervised), so that what it
shows is what the program does. A second call finds everything there and only says where it is.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from pathlib import Path

from pipeline.errors import RedysError
from pipeline.progress import Reporter
from pipeline.synth.session import make_session
from pipeline.synth.spec import SynthSpec
from records.rows import RecordingRow, RunRow
from records.service import Records
from records.supervise import supervise_run

_FIRST = SynthSpec(
    seconds=8.0,
    size_px=(1280, 720),
    seed=11,
    subject=11,
    kind="dystonic",
    severity=1.0,
    name="made-person-11",
    visit=datetime.date(2026, 3, 2),
)

DEMO_VISITS: dict[str, SynthSpec] = {
    "visit-1": _FIRST,
    "visit-2": dataclasses.replace(_FIRST, seed=12, severity=0.35, visit=datetime.date(2026, 6, 8)),
}
"""The two visits, by the name of their folder: dystonic, then better."""


def make_demo(records: Records) -> tuple[RecordingRow, ...]:
    """Make what of the demo is not there yet, and give its recordings, the first visit first.

    Raises
    ------
    RedysError
        A visit could not be made or worked; what and why.
    """
    folder = records.settings.data_dir / "demo"
    done = []
    for name, spec in DEMO_VISITS.items():
        session = folder / name
        if not (session / "truth.json").is_file():  # written last, so its folder is whole
            print(f"Making {name} ({spec.kind}, severity {spec.severity:g}) ...", flush=True)
            start = time.perf_counter()
            make_session(session, spec, Reporter("synth"))
            print(f"  made in {time.perf_counter() - start:.0f} s", flush=True)
        done.append(_work(records, session))
    return tuple(done)


def _work(records: Records, session: Path) -> RecordingRow:
    recording = records.add_recording(session, title=f"Demo, {session.name}", actor="demo")
    if recording.report_run_id is not None:
        return recording
    print(f"Working {session.name} through the pipeline ...", flush=True)
    run = recording.run
    run = (
        records.retry(run.id, "demo")
        if run is not None and run.can_retry
        else records.submit_run(recording.id)
    )
    run = supervise_run(records, run.id, _StagePrinter())
    if run.state != "done":
        raise RedysError(
            f"The demo's {session.name} is {run.state}. {run.error_what}".strip(),
            run.error_advice or "Run `make demo` again; it goes on where it stopped.",
        )
    return records.get_recording(recording.id)


class _StagePrinter:
    """Prints each stage once, with the seconds since the start."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.stage = ""

    def __call__(self, run: RunRow) -> None:
        if run.stage and run.stage != self.stage:
            self.stage = run.stage
            seconds = time.perf_counter() - self.start
            print(f"  {seconds:4.0f} s  {run.fraction:4.0%}  {run.message}", flush=True)
