"""The timeline under the player: events, marks and excluded sections on one track; the form of marks.

``assets/modules/marks.mjs`` moves the line at the playhead, takes the player's moment into the form, and goes
along the track by arrow keys.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import dash_bootstrap_components as dbc
import flask
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import aria, as_written, data
from components.heat_map import name_angle, name_joint
from components.playing import say_range
from components.security import current_actor
from components.signals import Signals, read_signals
from components.states import failed, notice
from components.status import say_number, say_time
from pipeline.errors import RedysError
from pipeline.export.tables import escape_formula
from pipeline.hand.angles import ANGLE_INFO
from pipeline.hand.joints import JOINTS, SIDES
from pipeline.measures.ratings import (
    TOLERANCE_S,
    Agreement,
    Rate,
    Span,
    agree,
    count_per_minute,
    join_movements,
)
from pipeline.measures.summary import Summary
from records import MarkRow, NotFound, Records, get_records
from records.errors import MarkError
from records.marks import KINDS

MOST_EVENTS: Final = 200
"""More events than this lie over each other on a track; the strongest are drawn, and it is said."""

KIND_WORDS: Final = {"note": "Note", "tag": "Tag", "abnormal movement": "Abnormal movement"}
SHAPES: Final = {"note": "●", "tag": "▲", "abnormal movement": "◆"}

UNSAID: Final = "unsaid"
"""Value of a choice that was not made; an empty one would show nothing."""

_RATED_BLIND: Final = [
    {"value": UNSAID, "label": "Not known"},
    {"value": "yes", "label": "Yes"},
    {"value": "no", "label": "No"},
]


@dataclass(frozen=True)
class _Item:
    """Something on the track: its class, times in s, frame, joint, and words (the last as typed)."""

    kind: str
    start_s: float
    end_s: float
    frame: int
    joint: str | None
    words: str
    typed: str = ""


def name_author(actor: str) -> Any:
    """Who did something, for people: the name of who signed in; "this computer" where nobody has to."""
    if actor == "local":
        return "this computer"
    user = get_records().users.get(actor)
    return as_written(user.name if user is not None else actor)


# --- the track -----------------------------------------------------------------------------------


def timeline(
    recording_id: str, run_id: str, summary: Summary, signals: Signals, blind: bool = False
) -> html.Div:
    """The track and what it needs to be drawn again; ``blind`` leaves out all that the program found."""
    return html.Div(
        [
            dcc.Store(id=ids.MARKS_OF, data={"recording": recording_id, "run": run_id, "blind": blind}),
            html.Div(lane(recording_id, summary, signals, blind), id=ids.MARKS_LANE),
        ],
        className="timeline",
        **data(module="marks", player=ids.PLAYER, duration=f"{signals.duration_s:.6f}"),
        **(data(blind="true") if blind else {}),
    )


def lane(recording_id: str, summary: Summary, signals: Signals, blind: bool = False) -> list[Any]:
    """Everything on one track, aligned to time, and a key of its shapes."""
    marks = _list_marks(recording_id, blind)
    found, left_out = ([], 0) if blind else _list_events(summary, signals)
    items = [*_list_excluded(summary, signals), *found, *(_show_mark(mark, signals) for mark in marks)]
    items.sort(key=lambda item: (item.start_s, item.kind))
    track = html.Ol(
        [_draw(item, signals, place == 0) for place, item in enumerate(items)],
        className="lane-items",
    )
    line = html.Div(className="lane-cursor", **aria(hidden="true"))
    key = [
        html.Li([html.Span(className=f"lane-sample lane-{kind}", **aria(hidden="true")), words])
        for kind, words in (
            *(() if blind else (("posture", "sustained posture"), ("brisk", "brisk movement"))),
            ("excluded", "left out by hand"),
        )
    ]
    key += [
        html.Li(
            [html.Span(SHAPES[kind], className=f"lane-shape lane-{_css(kind)}", **aria(hidden="true")), words]
        )
        for kind, words in KIND_WORDS.items()
    ]
    more = f" Of the events the {MOST_EVENTS} strongest are shown; {left_out} are not." if left_out else ""
    note = f"Arrow keys go along it; a click goes to that moment. Key M in the player: a mark there.{more}"
    return [
        html.Div(
            [track, line], className="lane", role="group", **aria(label="Timeline: events, marks, left out")
        ),
        html.Ul(key, className="lane-key"),
        html.P(note, className="plot-note"),
    ]


def _css(kind: str) -> str:
    return kind.replace(" ", "-")


def _draw(item: _Item, signals: Signals, first: bool) -> html.Li:
    length = max(signals.duration_s, 1e-9)
    start = min(max(100 * item.start_s / length, 0.0), 100.0)
    width = min(max(100 * (item.end_s - item.start_s) / length, 0.0), 100.0 - start)
    words: list[Any] = [html.Span(f"{item.words}, {say_time(item.start_s)}", className="visually-hidden")]
    if item.typed:
        words.append(html.Span([": ", as_written(item.typed)], className="visually-hidden"))
    shape = SHAPES.get(item.kind)
    if shape:
        words.append(html.Span(shape, className="lane-shape", **aria(hidden="true")))
    link = html.A(
        words,
        href=routes.moment_fragment(item.frame, item.joint),
        className=f"lane-item lane-{_css(item.kind)}",
        style={"left": f"{start:.3f}%", "width": f"{width:.3f}%"},
        title=item.words,
        tabIndex=0 if first else -1,
    )
    return html.Li(link)


def _list_events(summary: Summary, signals: Signals) -> tuple[list[_Item], int]:
    found: list[tuple[float, _Item]] = []
    many = len(summary.sides) > 1
    for side, hand in summary.sides.items():
        whose = f", {side} hand" if many else ""
        for bout in hand.bouts:
            joint = ANGLE_INFO[bout.angle].joint
            words = f"Sustained posture, {name_angle(bout.angle)} {bout.direction}{whose}"
            item = _Item("posture", bout.start_s, bout.end_s, signals.frame_at(bout.start_s), joint, words)
            found.append((abs(bout.peak_z), item))
        for brisk in hand.brisk:
            words = f"Brisk movement, {name_joint(brisk.joint)}{whose}"
            frame = signals.frame_at(brisk.peak_s)
            item = _Item("brisk", brisk.start_s, brisk.end_s, frame, brisk.joint, words)
            found.append((brisk.peak_acceleration / 5.0, item))
    found.sort(key=lambda each: -each[0])
    return [item for _, item in found[:MOST_EVENTS]], max(len(found) - MOST_EVENTS, 0)


def _list_excluded(summary: Summary, signals: Signals) -> list[_Item]:
    return [
        _Item(
            "excluded", each.start_s, each.end_s, signals.frame_at(each.start_s), None,
            f"Left out by hand, {each.side} hand" if each.side else "Left out by hand", each.reason,
        )
        for each in summary.excluded
    ]  # fmt: skip


def _show_mark(mark: MarkRow, signals: Signals) -> _Item:
    end_s = mark.start_s if mark.end_s is None else mark.end_s
    words = KIND_WORDS[mark.kind] + (f", {mark.side} hand" if mark.side else "")
    frame = signals.frame_at(mark.start_s)
    return _Item(mark.kind, mark.start_s, end_s, frame, mark.joint, words, mark.text)


def _list_marks(recording_id: str, blind: bool, withdrawn: bool = False) -> tuple[MarkRow, ...]:
    """All marks; for who rates blind, only their own."""
    marks = get_records().marks.list(recording_id, withdrawn)
    actor = current_actor()
    return tuple(mark for mark in marks if not blind or (mark.author == actor and mark.blinded is True))


# --- the list and the form -----------------------------------------------------------------------


def marks_panel(recording_id: str, summary: Summary, signals: Signals, blind: bool = False) -> list[Any]:
    """What stands in the panel of the marks: the list, the raters' figures, and the form."""
    parts: list[Any] = [html.Div(marks_list(recording_id, summary, signals, blind), id=ids.MARKS_LIST)]
    if policy.may("work"):
        parts.append(mark_form(recording_id, blind))
    if not blind:
        links: list[Any] = []
        if policy.may("work"):
            links.append(dcc.Link("Rate without the numbers", href=routes.mark_url(recording_id)))
        if policy.may("export"):
            address = routes.marks_file_url(recording_id)
            links.append(html.A("All marks as a table (CSV)", href=address, download="marks.csv"))
        parts.append(html.P([html.Span(link, className="marks-link") for link in links]))
    parts.append(html.Div(id=ids.MARKS_ANSWER, role="status"))
    return parts


def marks_list(recording_id: str, summary: Summary, signals: Signals, blind: bool = False) -> list[Any]:
    """The marks as a table, those that were withdrawn below, and what the raters' come to."""
    every = _list_marks(recording_id, blind, withdrawn=True)
    held = [mark for mark in every if mark.withdrawn is None]
    gone = [mark for mark in every if mark.withdrawn is not None]
    parts: list[Any] = []
    if held:
        parts.append(_table(held, signals, ids.mark_withdraw, "Withdraw"))
    else:
        nobody = "Nobody has set a mark on this recording yet."
        words = "You have set no blinded mark on this recording yet." if blind else nobody
        parts.append(notice("info", html.P(words)))
    if not blind:
        parts += _ratings(held, summary)
    if gone:
        title = html.Summary(f"Withdrawn: {len(gone)}")
        parts.append(html.Details([title, _table(gone, signals, ids.mark_back, "Bring back")]))
    return parts


def _table(marks: Sequence[MarkRow], signals: Signals, button: Any, words: str) -> html.Div:
    head = ["When", "What", "Where", "In words", "By", words]
    rows = [_row(mark, signals, button, words) for mark in marks]
    cells = [html.Th(word, scope="col") for word in head[:-1]] + [
        html.Th(html.Span("Action", className="visually-hidden"), scope="col")
    ]
    table = html.Table([html.Thead(html.Tr(cells)), html.Tbody(rows)], className="numbers marks-table")
    return html.Div(table, className="table-scroll", tabIndex=0, role="region", **aria(label="Marks"))


def _row(mark: MarkRow, signals: Signals, button: Any, words: str) -> html.Tr:
    moment = say_time(mark.start_s) + (f" to {say_time(mark.end_s)}" if mark.end_s is not None else "")
    link = html.A(
        moment, href=routes.moment_fragment(signals.frame_at(mark.start_s), mark.joint), className="moment"
    )
    where = [
        part for part in (mark.side and f"{mark.side} hand", mark.joint and name_joint(mark.joint)) if part
    ]
    kind: list[Any] = [html.Span(SHAPES[mark.kind], **aria(hidden="true")), " ", KIND_WORDS[mark.kind]]
    act = (
        html.Button(
            words, id=button(mark.id), className="btn btn-sm btn-outline-secondary",
            **aria(label=f"{words}: {KIND_WORDS[mark.kind]}, {moment}"),
        )
        if policy.may("work") else None
    )  # fmt: skip
    return html.Tr(
        [
            html.Th(link, scope="row"),
            html.Td(kind),
            html.Td(", ".join(where) or "–"),
            html.Td(as_written(mark.text) if mark.text else "–"),
            html.Td(_say_author(mark)),
            html.Td(act),
        ]
    )


def _say_author(mark: MarkRow) -> list[Any]:
    rater = [as_written(mark.rater)] if mark.rater and mark.rater != mark.author else []
    lines: list[Any] = [html.Div(rater or [name_author(mark.author)])]
    if mark.kind == "abnormal movement":
        blind = {True: "blinded", False: "not blinded", None: "blinded or not: not known"}[mark.blinded]
        lines.append(html.Div(blind, className="quiet"))
    entered = ["entered ", mark.created.strftime("%Y-%m-%d %H:%M"), " UTC, ", name_author(mark.author)]
    lines.append(html.Div(entered, className="quiet"))
    if mark.withdrawn is not None:
        by = [
            "withdrawn ",
            mark.withdrawn.strftime("%Y-%m-%d %H:%M"),
            " UTC, ",
            name_author(mark.withdrawn_by or ""),
        ]
        lines.append(html.Div(by, className="quiet"))
    return lines


# --- raters in figures ---------------------------------------------------------------------------


def rate_marks(marks: Sequence[MarkRow], summary: Summary) -> list[tuple[str, bool | None, Rate, Agreement]]:
    """By rater and whether blinded: marks a minute, and agreement with the program's sustained postures.

    Of a rater who named the hand in every mark, only that hand's postures are compared. What lies in a
    section that was left out for both hands counts on neither side.
    """
    groups: dict[tuple[str, bool | None], list[MarkRow]] = {}
    spans = [(each.start_s, each.end_s) for each in summary.excluded if not each.side]
    for mark in marks:
        if mark.kind == "abnormal movement" and not any(a <= mark.start_s < b for a, b in spans):
            groups.setdefault((mark.rater, mark.blinded), []).append(mark)
    lost_s = _length(spans, summary.recording.duration_s)
    minutes = (summary.recording.duration_s - lost_s) / 60.0
    found = []
    for (rater, blinded), own in sorted(groups.items(), key=lambda each: (each[0][0], str(each[0][1]))):
        sides = {mark.side for mark in own}
        movements = join_movements(
            Span(bout.start_s, bout.end_s, bout.finger)
            for side, hand in summary.sides.items()
            if None in sides or side in sides
            for bout in hand.bouts
        )
        rated = [Span(m.start_s, m.start_s if m.end_s is None else m.end_s, _finger(m.joint)) for m in own]
        found.append((rater, blinded, count_per_minute(len(own), minutes), agree(rated, movements)))
    return found


def _finger(joint: str | None) -> str:
    return joint.partition("_")[0] if joint and joint != "wrist" else ""


def _length(spans: Sequence[tuple[float, float]], until_s: float) -> float:
    """How much of the recording lies in any of the spans, in s."""
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        start, end = max(start, reached), min(end, until_s)
        total += max(end - start, 0.0)
        reached = max(reached, end)
    return total


def _ratings(marks: Sequence[MarkRow], summary: Summary) -> list[Any]:
    rows = rate_marks(marks, summary)
    silent = sum(mark.kind == "abnormal movement" for mark in marks) - sum(
        rate.count for _, _, rate, _ in rows
    )
    unheard = html.P(
        f"Marks of movements in sections that were left out, which do not count: {silent}.",
        className="plot-note",
    )
    if not rows:
        return [unheard] if silent else []
    head = ["Rater", "Abnormal movements", "A minute", "Agreement with sustained postures"]
    body = [
        html.Tr(
            [
                html.Th([_say_rater(rater), html.Div(_say_blind(blinded), className="quiet")], scope="row"),
                html.Td(str(rate.count)),
                html.Td(say_range(rate.per_min, rate.low, rate.high, "/min", 1)),
                html.Td(_say_agreement(agreement)),
            ]
        )
        for rater, blinded, rate, agreement in rows
    ]
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(body)],
        className="numbers",
    )
    note = (
        "Marks a minute as the scale for the frequency of abnormal movements (FAM) counts them, with 95 % "
        "interval. Agreement: share of positive agreement (F1) of the marks with the sustained postures "
        "found, those of one finger that overlap taken as one; together if no more than "
        f"{TOLERANCE_S:g} s lies between. "
        "A rater judges movement, the program posture: they need not mean the same."
    )
    return [
        html.H3("Raters"),
        html.Div(table, className="table-scroll", tabIndex=0, role="region", **aria(label="Raters")),
        unheard if silent else None,
        html.P(note, className="plot-note"),
    ]


def _say_rater(rater: str) -> Any:
    return name_author(rater) if rater == "local" or len(rater) == 32 else as_written(rater)


def _say_blind(blinded: bool | None) -> str:
    return {True: "blinded", False: "not blinded", None: "blinded or not: not known"}[blinded]


def _say_agreement(found: Agreement) -> list[Any]:
    counts = (
        f"{found.together} together, {found.marks_alone} marked alone, {found.movements_alone} found alone"
    )
    if not math.isfinite(found.positive):
        return [f"Cannot tell. {found.note}", html.Div(counts, className="quiet")]
    words = f"{say_number(found.positive, 2)} ({say_number(found.low, 2)} to {say_number(found.high, 2)})"
    return [words, html.Div(counts, className="quiet")]


# --- the form ------------------------------------------------------------------------------------


def field(label: str, control: Any, control_id: str, *more: Any) -> html.Div:
    """A labelled control of a form."""
    return html.Div([html.Label(label, htmlFor=control_id), control, *more], className="field")


def time_field(label: str, control_id: str) -> html.Div:
    """A field for seconds, and the button that takes the player's moment into it."""
    control = dbc.Input(id=control_id, type="number", min=0, step="any", inputmode="decimal")
    take = html.Button(
        "From the player",
        type="button",
        className="btn btn-sm btn-outline-secondary",
        **data(fill=control_id),
        **aria(label=f"{label}: from the player"),
    )
    return field(label, html.Div([control, take], className="time-field"), control_id)


def mark_form(recording_id: str, blind: bool = False) -> html.Div:
    """The form that adds a mark."""
    hands = [{"value": UNSAID, "label": "Not said"}, *({"value": s, "label": s.capitalize()} for s in SIDES)]
    joints = [{"value": UNSAID, "label": "Not said"}, *({"value": j, "label": name_joint(j)} for j in JOINTS)]
    kinds = [{"value": kind, "label": KIND_WORDS[kind]} for kind in KINDS]
    rating = [
        field("Rater (of an abnormal movement)", dbc.Input(id=ids.MARK_RATER, maxLength=80), ids.MARK_RATER),
        field(
            "Rated without seeing the numbers or the date",
            dbc.Select(
                id=ids.MARK_BLINDED, options=_RATED_BLIND, value="yes" if blind else UNSAID, disabled=blind
            ),
            ids.MARK_BLINDED,
        ),
    ]
    return html.Div(
        [
            html.H3("Add a mark"),
            html.Div(
                [
                    field(
                        "Kind",
                        dbc.Select(id=ids.MARK_KIND, options=kinds, value=KINDS[2] if blind else KINDS[0]),
                        ids.MARK_KIND,
                    ),
                    time_field("From (s)", ids.MARK_START),
                    time_field("To (s), empty for a moment", ids.MARK_END),
                    field("Hand", dbc.Select(id=ids.MARK_SIDE, options=hands, value=UNSAID), ids.MARK_SIDE),
                    field(
                        "Joint", dbc.Select(id=ids.MARK_JOINT, options=joints, value=UNSAID), ids.MARK_JOINT
                    ),
                    field("In words", dbc.Input(id=ids.MARK_TEXT, maxLength=500), ids.MARK_TEXT),
                    *rating,
                ],
                className="form-grid",
            ),
            html.Button("Add mark", id=ids.MARK_ADD, className="btn btn-primary"),
            html.P("A mark is never changed: withdraw a wrong one and set it anew.", className="plot-note"),
        ],
        className="correct-form",
    )


def _draw_again(of: dict[str, Any]) -> tuple[Any, Any]:
    records = get_records()
    summary = records.read_summary(of["run"])
    if summary is None:
        raise PreventUpdate
    signals = read_signals(records.open_run(of["run"]))
    recording_id, blind = of["recording"], bool(of.get("blind"))
    return lane(recording_id, summary, signals, blind), marks_list(recording_id, summary, signals, blind)


@callback(
    Output(ids.MARKS_LANE, "children"),
    Output(ids.MARKS_LIST, "children"),
    Output(ids.MARKS_ANSWER, "children"),
    Output(ids.MARK_START, "value"),
    Output(ids.MARK_END, "value"),
    Output(ids.MARK_TEXT, "value"),
    Input(ids.MARK_ADD, "n_clicks"),
    Input(ids.MARK_TEXT, "n_submit"),
    State(ids.MARK_KIND, "value"),
    State(ids.MARK_START, "value"),
    State(ids.MARK_END, "value"),
    State(ids.MARK_SIDE, "value"),
    State(ids.MARK_JOINT, "value"),
    State(ids.MARK_TEXT, "value"),
    State(ids.MARK_RATER, "value"),
    State(ids.MARK_BLINDED, "value"),
    State(ids.MARKS_OF, "data"),
    prevent_initial_call=True,
)
def add_mark(
    clicks: int | None, submits: int | None, kind: str, start_s: Any, end_s: Any, side: str, joint: str,
    words: str | None, rater: str | None, blinded: str, of: dict[str, Any],
) -> tuple[Any, ...]:  # fmt: skip
    """Set the mark that the form describes."""
    if not clicks and not submits:
        raise PreventUpdate
    try:
        mark = get_records().marks.add(
            of["recording"], kind, _read_s(start_s), _read_s(end_s), side=_said(side), joint=_said(joint),
            text=words or "", rater=rater or "", blinded={"yes": True, "no": False}.get(blinded),
            actor=current_actor(),
        )  # fmt: skip
    except RedysError as error:
        return no_update, no_update, failed(error), no_update, no_update, no_update
    said = notice("info", html.P(f"{KIND_WORDS[mark.kind]} set at {say_time(mark.start_s)}."))
    return *_draw_again(of), said, None, None, ""


def _said(choice: str | None) -> str | None:
    return None if choice == UNSAID else choice


def _read_s(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MarkError(f"{value!r} is no time.", "Give seconds from the start of the recording.")
    return float(value)


@callback(
    Output(ids.MARKS_LANE, "children", allow_duplicate=True),
    Output(ids.MARKS_LIST, "children", allow_duplicate=True),
    Output(ids.MARKS_ANSWER, "children", allow_duplicate=True),
    Input(ids.mark_withdraw(ALL), "n_clicks"),
    Input(ids.mark_back(ALL), "n_clicks"),
    State(ids.MARKS_OF, "data"),
    prevent_initial_call=True,
)
def change_mark(withdrawn: list[int | None], back: list[int | None], of: dict[str, Any]) -> tuple[Any, ...]:
    """Withdraw a mark, or bring it back."""
    asked = ctx.triggered_id
    if not isinstance(asked, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate  # drawing a button also fires its callback, with no click
    marks = get_records().marks
    is_back = asked["type"] == "mark-back"
    try:
        (marks.bring_back if is_back else marks.withdraw)(asked["mark"], current_actor())
    except RedysError as error:
        return no_update, no_update, failed(error)
    words = "The mark is back." if is_back else "The mark is withdrawn; it can be brought back below."
    return *_draw_again(of), notice("info", html.P(words))


# --- as a table ----------------------------------------------------------------------------------

COLUMNS: Final = (
    "recording", "kind", "start_s", "end_s", "side", "joint", "text", "rater", "blinded", "author", "created",
    "withdrawn", "withdrawn_by",
)  # fmt: skip


def write_marks(recording_id: str, marks: Sequence[MarkRow]) -> str:
    """Marks as CSV text, the withdrawn ones too; times in s on the reference camera's clock."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for mark in marks:
        plain = [
            recording_id,
            mark.kind,
            f"{mark.start_s:.3f}",
            "" if mark.end_s is None else f"{mark.end_s:.3f}",
        ]
        typed = [mark.side, mark.joint, mark.text, mark.rater]
        blinded = {True: "yes", False: "no", None: ""}[mark.blinded]
        withdrawn = mark.withdrawn.isoformat() if mark.withdrawn else ""
        who = [blinded, mark.author, mark.created.isoformat(), withdrawn, mark.withdrawn_by or ""]
        writer.writerow([*plain, *(escape_formula(each or "") for each in typed), *who])
    return file.getvalue()


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the route on the server; the gate of `components.security` stands before it."""

    @server.route(routes.MARKS_FILE)
    def marks_file(recording_id: str) -> flask.typing.ResponseReturnValue:
        """A recording's marks as a table."""
        try:
            found = records.marks.list(recording_id, withdrawn=True)
        except NotFound as error:
            return flask.Response(f"{error}\n", 404, mimetype="text/plain")
        records.note(current_actor(), "mark.export", recording_id)
        response = flask.Response(write_marks(recording_id, found), mimetype="text/csv")
        response.headers["Content-Disposition"] = 'attachment; filename="marks.csv"'
        response.headers["Cache-Control"] = "private, no-cache"
        return response
