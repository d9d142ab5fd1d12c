"""Work that takes minutes, seen from the pages: the background callback, the tray, a run's panel.

A Dash job carries nothing but a run's id. It calls a supervisor (`records.supervise`), which belongs to
nobody, or has the workers told that there is work; then it relays what the database says. So Dash may kill
it, the page may be reloaded and the server restarted without harm. The tray asks the database itself:
Dash's own progress is only the faster path.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Callable
from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import ALL, MATCH, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from components import ids, policy, routes
from components.attributes import aria, as_written, data
from components.security import current_actor
from components.states import failed, notice, say_duration, say_seconds, state_badge
from pipeline.errors import RedysError
from records import NotFound, RunRow, get_records
from records.outages import find_outage
from records.progress import Step, hide_paths, list_steps, read_details

log = logging.getLogger(__name__)

TICK_LIVE_MS = 2000
TICK_IDLE_MS = 10_000
"""While nothing is at work the tray looks less often: another tab may have started something."""

TOAST_MS = 20_000

CLOCK_STAGES = ("sound", "sync")
"""Stages of the pipeline that end in an error which an offset set by hand may mend."""


def job_request(run_id: str) -> dict[str, str]:
    """What `ids.JOB_REQUEST` gets to start a run. Always new: Dash would take equal ones for the same job."""
    return {"run_id": run_id, "request": uuid.uuid4().hex}


def run_job(
    set_progress: Callable[[tuple[Any, ...]], None], request: dict[str, str] | None
) -> dict[str, str]:
    """The background callback: see to a run being supervised, and relay how it stands."""
    if not request:
        raise PreventUpdate
    from records.supervise import follow_run

    run = None
    for run in follow_run(get_records(), request["run_id"]):
        set_progress((say_run(run), f"{100 * run.fraction:.0f}"))
    return {"run_id": request["run_id"], "state": run.state if run else "lost"}


def say_run(run: RunRow) -> str:
    """How a live run stands, in one line."""
    if run.state == "queued":
        return f"{run.title}: waiting, place {run.position} in the queue"
    left = say_seconds(run.eta_s)
    stopping = " (stopping)" if run.cancel_requested else ""
    parts = [f"{run.message}{stopping}", f"{100 * run.fraction:.0f} %", left]
    return f"{run.title}: " + ", ".join(part for part in parts if part)


# --- the tray ------------------------------------------------------------------------------------


def tray() -> html.Section:
    """The bar below the header that shows work going on, on every page."""
    return html.Section(
        [
            html.Div(
                [
                    html.Span(id=ids.TRAY_TEXT, className="tray-text"),
                    html.Progress(
                        id=ids.TRAY_BAR, value="0", max="100", **aria(label="Share of the work done")
                    ),
                ],
                className="tray-line",
            ),
            html.Div(id=ids.TRAY_RUNS, className="tray-runs"),
        ],
        id=ids.TRAY,
        className="tray",
        hidden=True,
        **aria(label="Work going on"),
    )


def parts() -> list[Any]:
    """The unseen parts that the shell holds once."""
    return [
        dcc.Store(id=ids.JOB_REQUEST),
        dcc.Store(id=ids.JOB_DONE),
        dcc.Store(id=ids.TRAY_SEEN, storage_type="session"),
        dcc.Interval(id=ids.TRAY_TICK, interval=TICK_IDLE_MS),
        html.Div(
            id=ids.TRAY_HEARD,
            className="connection",
            role="status",
            **data(module="watch", toasts=ids.TOASTS),
        ),
    ]


def _tray_runs(runs: tuple[RunRow, ...]) -> list[html.Div]:
    """A line for each live run: where it belongs to, and a way to stop it."""
    return [
        html.Div(
            [
                dcc.Link(as_written(run.title), href=routes.result_url(run.kind, run.recording_id)),
                html.Span(
                    "at work" if run.state == "running" else f"waiting, place {run.position}",
                    className="tray-place",
                ),
                html.Button(
                    "Cancel",
                    id=ids.run_cancel(run.id, "tray"),
                    className="btn btn-sm btn-outline-secondary",
                    disabled=run.cancel_requested,
                    **aria(label=f"Cancel {run.title}"),
                )
                if policy.may("work")
                else None,
            ],
            className="tray-run",
        )
        for run in runs
    ]


def _toast(run: RunRow) -> dbc.Toast:
    """A run that has ended is announced wherever the person is."""
    heading = {"done": "Ready", "failed": "Failed", "cancelled": "Cancelled"}.get(run.state, "Interrupted")
    body: list[Any] = [html.P(as_written(run.title))]
    if run.error_what:
        body.append(html.P(hide_paths(run.error_what)))
    word = "Open the report" if run.state == "done" else "See what happened"
    body.append(html.A(word, href=routes.result_url(run.kind, run.recording_id)))
    return dbc.Toast(
        body,
        header=heading,
        dismissable=True,
        duration=TOAST_MS if run.state == "done" else None,
        key=run.id,
        className=f"toast-{run.state}",
    )


def _add_toasts(ended: tuple[RunRow, ...]) -> dash.Patch:
    """Announcements join those that are there: one that nobody has read yet must not go."""
    added = dash.Patch()
    added.extend([_toast(run) for run in ended])
    return added


def look(seen: dict[str, Any] | None) -> dict[str, Any]:
    """What the tray shows now; ``seen`` is what it showed last, by its Store.

    Children that hold buttons are given only when they change: drawn anew every two seconds they would
    take the keyboard's focus away. Who may not see recordings is not told what they are called.
    """
    if not policy.may("see"):
        return _blank(seen)
    records = get_records()
    live = records.list_live_runs()
    shown = [[run.id, run.state, run.position, run.cancel_requested] for run in live]
    since = _read_time((seen or {}).get("since"))
    ended = records.list_ended_runs(since) if since is not None else ()
    latest = max((run.finished for run in ended if run.finished), default=since) or _now()
    first = live[0] if live else None
    changed = seen is None or seen.get("runs") != shown
    return {
        "hidden": not live,
        "text": say_run(first) if first else "",
        "bar": f"{100 * first.fraction:.0f}" if first else "0",
        "runs": _tray_runs(live) if changed else no_update,
        "interval": TICK_LIVE_MS if live else TICK_IDLE_MS,
        "toasts": _add_toasts(ended) if ended else no_update,
        "spoken": " ".join(_announce(run) for run in ended) if ended else no_update,
        "request": _wanted_request(),
        "heard": f"{TICK_LIVE_MS if live else TICK_IDLE_MS} {_now().isoformat()}",
        "mark": f"{100 * first.fraction:.0f} %" if first else "",
        "seen": {"since": latest.isoformat(), "runs": shown} if changed or latest != since else no_update,
    }


def _blank(seen: dict[str, Any] | None) -> dict[str, Any]:
    """A tray that shows nothing, and looks seldom."""
    fresh = seen is None or seen.get("runs") != []
    return {
        "hidden": True,
        "text": "",
        "bar": "0",
        "runs": [] if fresh else no_update,
        "interval": TICK_IDLE_MS,
        "toasts": no_update,
        "spoken": no_update,
        "request": no_update,
        "heard": f"{TICK_IDLE_MS} {_now().isoformat()}",
        "mark": "",
        "seen": {"since": _now().isoformat(), "runs": []} if fresh else no_update,
    }


def _announce(run: RunRow) -> str:
    words = {"done": "ready", "failed": "failed", "cancelled": "cancelled"}
    return f"{run.title}: {words.get(run.state, 'interrupted')}."


def _wanted_request() -> Any:
    """A request for the first run that nobody watches: after a restart, a queue must not be forgotten.

    Only for who may start work: anybody else's browser would be refused the job.
    """
    records = get_records()
    if not policy.may("work") or records.settings.redis_url:  # workers take what waits
        return no_update
    from records.supervise import tend

    for run_id in tend(records):
        if records.summon(run_id):
            return job_request(run_id)
    return no_update


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _read_time(text: str | None) -> datetime.datetime | None:
    try:
        moment = datetime.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


# --- a run's panel -------------------------------------------------------------------------------


def run_panel(run: RunRow) -> html.Section:
    """How a run stands, for the page of its recording; follows it, and reloads the page when it is done."""
    return html.Section(
        _panel_content(run),
        id=ids.run_panel(run.id),
        className="card run-panel",
        **aria(label="Progress"),
    )


def start_panel(recording_id: str) -> html.Div:
    """For a recording that was never worked on: the button that does."""
    start = html.Button("Start", id=ids.START_RUN, value=recording_id, className="btn btn-primary")
    words = html.P("The videos of this recording have not been worked on yet.")
    return html.Div(notice("info", words, start if policy.may("work") else None), id=ids.START_PANEL)


def _panel_content(run: RunRow) -> list[Any]:
    content: list[Any] = [
        dcc.Store(id=ids.run_finished(run.id), data=[run.state, run.position, run.cancel_requested]),
        html.H2(state_badge(run.state)),
    ]
    if run.is_live:
        content += [
            html.P(say_run(run), id=ids.run_text(run.id)),
            html.Progress(
                id=ids.run_bar(run.id),
                value=f"{100 * run.fraction:.0f}",
                max="100",
                **aria(label="Share of the work done"),
            ),
            html.Div(_steps(run), id=ids.run_steps(run.id)),
            html.P("You may close this page; the work goes on.", className="hint"),
            html.Button(
                "Stopping" if run.cancel_requested else "Cancel",
                id=ids.run_cancel(run.id, "page"),
                disabled=run.cancel_requested,
                className="btn btn-outline-secondary",
            )
            if policy.may("work")
            else None,
        ]
    else:
        # The bar and the text stay, unseen: the callback below writes to them.
        content += [
            html.P("", id=ids.run_text(run.id), hidden=True),
            html.Progress(id=ids.run_bar(run.id), value="0", max="100", hidden=True),
            html.Div(_steps(run), id=ids.run_steps(run.id)),
        ]
    if run.can_retry:
        content += _panel_end(run)
    return content


def _panel_end(run: RunRow) -> list[Any]:
    content: list[Any] = []
    if run.error_what:
        content.append(failed(RedysError(hide_paths(run.error_what), hide_paths(run.error_advice))))
        if run.stage in CLOCK_STAGES and policy.may("work"):
            words = "See the cameras' sound and set a clock by hand"
            content.append(html.P(dcc.Link(words, href=routes.clocks_url(run.recording_id))))
    elif run.state == "cancelled":
        content.append(notice("info", html.P("The work was cancelled. What is finished is kept.")))
    if policy.may("work"):
        words = "Go on where it stopped"
        content.append(html.Button(words, id=ids.run_retry(run.id, "page"), className="btn btn-primary"))
    content.append(_details(run))
    return content


def _details(run: RunRow) -> html.Details:
    """What helps who mends it: number, stage, exit code, and the last that the run wrote down."""
    details = [f"Run {run.id}", f"Stage: {run.stage or 'none'}"]
    if run.exit_code is not None:
        details.append(f"Exit code: {run.exit_code}")
    if said := read_details(get_records().glance(run)):
        details += ["", said]
    return html.Details(
        [
            html.Summary("Details"),
            html.Pre("\n".join(details), tabIndex=0, role="group", **aria(label="What the run wrote down")),
        ],
        className="run-details",
    )


_STEP_WORDS = {
    "done": ("●", "done"),
    "working": ("◐", "at work"),
    "waiting": ("○", "waiting"),
    "stopped": ("◆", "stopped here"),
}
"""Shape and word of a stage: never told by colour alone."""


def _steps(run: RunRow) -> html.Ol | None:
    """The stages in their order, those of single cameras too: what is done, at work, to come."""
    steps = list_steps(get_records().glance(run))
    return html.Ol([_step(step, run.is_live) for step in steps], className="steps") if steps else None


def _step(step: Step, is_live: bool) -> html.Li:
    shape, word = _STEP_WORDS[step.state]
    if step.state == "waiting" and not is_live:
        word = "not begun"
    if step.state == "working":
        word = f"{word}, {100 * step.fraction:.0f} %"
    elif step.seconds is not None:
        word = f"{word} in {say_duration(step.seconds)}"
    return html.Li(
        [
            html.Span(shape, className="step-shape", **aria(hidden="true")),
            html.Span(step.label),
            html.Span(word, className="step-word"),
        ],
        className=f"step step-{step.state}",
    )


def follow_panel(
    _tick: int | None, panel_id: dict[str, str], drawn: list[Any] | None
) -> tuple[Any, Any, Any, Any]:
    """Text, bar, stages and (only when the state has changed) the whole content of a run's panel."""
    try:
        run = get_records().get_run(panel_id["run"])
    except NotFound:
        raise PreventUpdate from None
    if drawn == [run.state, run.position, run.cancel_requested]:
        if not run.is_live:
            raise PreventUpdate
        return say_run(run), f"{100 * run.fraction:.0f}", _steps(run), no_update
    if run.state == "done":
        ready: list[Any] = [
            html.H2(state_badge("done")),
            html.P(html.A("Open the report", href=routes.result_url(run.kind, run.recording_id))),
            html.Div(**data(module="reload")),
        ]
        return no_update, no_update, no_update, ready
    return no_update, no_update, no_update, _panel_content(run)


# --- callbacks -----------------------------------------------------------------------------------


def register_callbacks(app: dash.Dash) -> None:
    """Wire the tray, the panels and the background job into the app."""
    app.callback(
        Output(ids.JOB_DONE, "data"),
        Input(ids.JOB_REQUEST, "data"),
        background=True,
        prevent_initial_call=True,
        interval=1000,
        progress=[Output(ids.TRAY_TEXT, "children"), Output(ids.TRAY_BAR, "value")],
    )(run_job)

    @app.callback(
        Output(ids.TRAY, "hidden"),
        Output(ids.TRAY_TEXT, "children"),
        Output(ids.TRAY_BAR, "value"),
        Output(ids.TRAY_RUNS, "children"),
        Output(ids.TRAY_TICK, "interval"),
        Output(ids.TOASTS, "children"),
        Output(ids.LIVE_REGION, "children"),
        Output(ids.JOB_REQUEST, "data"),
        Output(ids.TRAY_HEARD, "data-heard"),
        Output(ids.TRAY_HEARD, "data-mark"),
        Output(ids.TRAY_SEEN, "data"),
        Input(ids.TRAY_TICK, "n_intervals"),
        # Not the job's own output: Dash holds a callback back while one that it listens to is at work.
        State(ids.TRAY_SEEN, "data"),
        State(ids.TRAY_RUNS, "children"),
    )
    def update_tray(_tick: int | None, seen: dict[str, Any] | None, drawn: Any) -> tuple[Any, ...]:
        if drawn is None and seen:  # a fresh page: nothing is drawn yet, whatever the store remembers
            seen = {**seen, "runs": None}
        try:
            return tuple(look(seen).values())
        except (SQLAlchemyError, RedisError, OSError, RedysError) as error:
            outage = find_outage(error)
            if outage is None:
                raise
            return False, outage.what, "0", *([no_update] * 8)

    @app.callback(
        Output(ids.run_text(MATCH), "children"),
        Output(ids.run_bar(MATCH), "value"),
        Output(ids.run_steps(MATCH), "children"),
        Output(ids.run_panel(MATCH), "children"),
        Input(ids.TRAY_TICK, "n_intervals"),
        State(ids.run_panel(MATCH), "id"),
        State(ids.run_finished(MATCH), "data"),
        prevent_initial_call=True,
    )
    def update_panel(tick: int | None, panel_id: dict[str, str], drawn: list[Any] | None) -> Any:
        return follow_panel(tick, panel_id, drawn)

    @app.callback(
        Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
        Input(ids.run_cancel(ALL, ALL), "n_clicks"),
        State(ids.TRAY_TICK, "n_intervals"),
        prevent_initial_call=True,
    )
    def cancel(clicks: list[int | None], tick: int | None) -> int:
        get_records().request_cancel(_clicked_run(clicks), current_actor())
        return (tick or 0) + 1

    @app.callback(
        Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
        Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
        Input(ids.run_retry(ALL, ALL), "n_clicks"),
        State(ids.TRAY_TICK, "n_intervals"),
        prevent_initial_call=True,
    )
    def retry(clicks: list[int | None], tick: int | None) -> tuple[dict[str, str], int]:
        run = get_records().retry(_clicked_run(clicks), current_actor())
        return job_request(run.id), (tick or 0) + 1

    @app.callback(
        Output(ids.START_PANEL, "children"),
        Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
        Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
        Input(ids.START_RUN, "n_clicks"),
        State(ids.START_RUN, "value"),
        State(ids.TRAY_TICK, "n_intervals"),
        prevent_initial_call=True,
    )
    def start(clicks: int | None, recording_id: str, tick: int | None) -> tuple[Any, ...]:
        if not clicks:
            raise PreventUpdate
        run = get_records().submit_run(recording_id, current_actor())
        return run_panel(run), job_request(run.id), (tick or 0) + 1


def announce_error(error: Exception) -> None:
    """What a callback could not do, said where the person is; the details go to the log."""
    outage = find_outage(error)
    if outage is not None:
        log.warning("A callback met an outage: %s", outage, exc_info=error)
        heading, words = "Away for a moment", [outage.what, outage.advice]
    elif isinstance(error, RedysError):
        heading, words = "That did not work", [error.what, error.advice]
    else:
        log.error("A callback failed", exc_info=error)
        heading = "Something went wrong"
        words = ["This is a fault of the program.", "Reload the page; the server's log has the details."]
    toast = dbc.Toast(
        [html.P(word) for word in words if word], header=heading, dismissable=True, duration=None
    )
    added = dash.Patch()
    added.append(toast)
    dash.set_props(ids.TOASTS, {"children": added})


def _clicked_run(clicks: list[int | None]) -> str:
    """The run whose button was clicked; drawing a button also fires its callback, with no click."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate
    return str(ctx.triggered_id["run"])
