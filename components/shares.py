"""Sharing: the form on a report and on a comparison, the link as it is told once, and one's own links."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final

import dash_bootstrap_components as dbc
import flask
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update

from components import ids, policy, routes, security
from components.attributes import NOT_TRANSLATED, aria, as_written
from components.states import failed, loading, notice
from components.status import panel
from pipeline.errors import RedysError
from records import RecordingRow, get_records
from records.shares import DEFAULT_DAYS, LEAST_PASSWORD, MOST_DAYS, MOST_VIEWS, SESSION_MINUTES, ShareRow

LOOK_AGAIN_MS: Final = 1500
AT_ONCE_S: Final = 0.1

_CHOICES: Final = {
    "pseudonym": "The pseudonym",
    "notes": "Notes on the timeline, as they were written",
    "shape": "The hand's own proportions (they can tell whose hand it is)",
    "video": "The video: small, without sound, with the link's code and date in every picture. Faces, rooms "
    "and what lies on the table stay to be seen.",
}

_GIVEN: Final = (
    "Given without asking: the 3D hand with mean proportions, the hand map, headline numbers, quality and "
    "events. Never: names of files and cameras, days, sound, texts that somebody typed."
)
_HONEST: Final = (
    "Whoever can look at something can film the screen: a link is taken back, what was seen is not. "
    f"A page that was opened lasts {SESSION_MINUTES} minutes."
)
_LOCAL: Final = (
    "Nobody signs in here, so this server answers this computer only, and its links open on it alone. To "
    "share with others, serve on another address, with sign-in."
)
_STATES: Final = {
    "open": ("●", "Opens"),
    "preparing": ("◐", "Being prepared"),
    "failed": ("◆", "Failed"),
    "expired": ("○", "Past its end"),
    "revoked": ("–", "Revoked"),
    "used up": ("○", "Used up"),
    "owner disabled": ("–", "Owner disabled"),
}
_KEPT: Final = {"pseudonym": "pseudonym", "notes": "notes", "shape": "own proportions", "video": "video"}


def share_panel(recording_ids: Sequence[str]) -> html.Details | None:
    """The button, and behind it the form and the links of these recordings; None for who may not share."""
    if not policy.may("work"):
        return None
    return html.Details(
        [
            html.Summary("Share", className="btn btn-outline-secondary"),
            html.Div(
                [
                    html.H2("Share with a link"),
                    notice("info", html.P(_LOCAL)) if security.current_name() is None else None,
                    _form(len(recording_ids)),
                    dcc.Store(id=ids.SHARE_OF, data=list(recording_ids)),
                    html.Div(id=ids.SHARE_MADE, **aria(live="polite")),
                    html.H3("Your links to this"),
                    html.Div(_list(recording_ids), id=ids.SHARE_LIST),
                    dcc.Interval(id=ids.SHARE_TICK, interval=LOOK_AGAIN_MS, disabled=True),
                    html.P(dcc.Link("All your links", href=routes.LINKS)),
                ],
                className="panel share-body",
            ),
        ],
        id=ids.SHARE,
        className="share",
    )


def _form(count: int) -> html.Div:
    what = "this recording" if count == 1 else "these two visits"
    choices = [{"label": words, "value": choice} for choice, words in _CHOICES.items()]
    return html.Div(
        [
            html.P(f"Whoever has the link sees {what} without signing in. {_GIVEN}"),
            html.Fieldset(
                [html.Legend("Let through as well"), dbc.Checklist(choices, [], id=ids.SHARE_KEEP)],
                className="share-choices",
            ),
            html.Div(
                [
                    _field("Days", _number(ids.SHARE_DAYS, DEFAULT_DAYS, MOST_DAYS), f"1 to {MOST_DAYS}"),
                    _field(
                        "Times it may be opened", _number(ids.SHARE_VIEWS, None, MOST_VIEWS), "empty: any"
                    ),
                    _field(
                        "Password",
                        dbc.Input(
                            id=ids.SHARE_PASSWORD,
                            type="password",
                            maxLength=1024,
                            autocomplete="new-password",
                        ),
                        f"empty: none; else {LEAST_PASSWORD} letters or more, told by another way",
                    ),
                ],
                className="share-fields",
            ),
            html.P(_HONEST, className="plot-note"),
            dbc.Button("Make the link", id=ids.SHARE_MAKE, color="primary"),
        ]
    )


def _number(name: str, value: int | None, most: int) -> dbc.Input:
    return dbc.Input(id=name, type="number", value=value, min=1, max=most, step=1)


def _field(label: str, control: dbc.Input, hint: str) -> html.Div:
    return html.Div(
        [html.Label(label, htmlFor=control.id, className="form-label"), control, html.Small(hint)]
    )


def _list(recording_ids: Sequence[str]) -> Any:
    return list_links(get_records().shares.list_own(security.current_actor(), recording_ids))


def list_links(rows: Sequence[ShareRow], named: bool = False) -> Any:
    """Links, how they stand, who opened them, a button to end each; ``named`` says of what they are."""
    if not rows:
        return html.P("None yet.", className="quiet")
    return html.Ul([_entry(row, named) for row in rows], className="links")


def _entry(row: ShareRow, named: bool) -> html.Li:
    shape, word = _STATES[row.state]
    views = f"opened {row.used} of {row.max_views} times" if row.max_views else f"opened {row.used} times"
    kept = ", ".join(_KEPT[choice] for choice in row.choices if choice in _KEPT)
    said = [
        f"made {_say_moment(row.created)}",
        f"ends {_say_moment(row.expires)}",
        views,
        "with password" if row.has_password else "without password",
        f"lets through: {kept}" if kept else "lets through nothing more",
    ]
    return html.Li(
        [
            html.Div(
                [
                    html.Strong(f"Link {row.code}"),
                    html.Span(
                        [html.Span(shape, **aria(hidden="true")), f" {word}"],
                        className=f"state link-{row.state.replace(' ', '-')}",
                    ),
                    html.Button(
                        "Revoke",
                        id=ids.share_revoke(row.id),
                        className="btn btn-sm btn-outline-secondary",
                        **aria(label=f"Revoke link {row.code}"),
                    )
                    if row.is_live or row.state in ("failed", "used up")
                    else None,
                ],
                className="link-head",
            ),
            html.P([_name(each) for each in row.recordings], className="link-of") if named else None,
            html.P("; ".join(said), className="quiet"),
            failed(RedysError(row.what, row.advice)) if row.state == "failed" else None,
            _openings(row),
        ]
    )


def _name(recording: RecordingRow) -> html.Span:
    link = dcc.Link(as_written(recording.subject), href=routes.recording_url(recording.id))
    visit = recording.visit.isoformat() if recording.visit else "undated"
    return html.Span([link, f", {visit}"], className="link-recording")


def _openings(row: ShareRow) -> html.Details | None:
    if not row.openings:
        return None
    rows = [
        html.Tr(
            [
                html.Th(_say_moment(each.opened), scope="row"),
                html.Td(each.address or "–"),
                html.Td("played" if each.played else "not played"),
            ]
        )
        for each in row.openings
    ]
    head = html.Thead(html.Tr([html.Th(word, scope="col") for word in ("Opened", "From", "Movement")]))
    table = html.Table([head, html.Tbody(rows)], className="numbers")
    scroll = html.Div(
        table,
        className="table-scroll",
        tabIndex=0,
        role="group",
        **aria(label=f"Openings of link {row.code}"),
    )
    return html.Details([html.Summary(f"Openings: {len(row.openings)}"), scroll])


def _say_moment(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def own_links() -> list[Any]:
    """All of one's links, with the button that ends all of them."""
    rows = get_records().shares.list_own(security.current_actor())
    return [
        html.P(_HONEST, className="panel-lead"),
        dcc.Store(id=ids.SHARE_OF, data=[]),
        html.Div(list_links(rows, named=True), id=ids.SHARE_LIST),
        html.Button("Revoke all", id=ids.SHARE_REVOKE_ALL, className="btn btn-outline-secondary")
        if any(row.is_live for row in rows)
        else None,
    ]


def links_panel() -> html.Section:
    """`own_links` as a part of a page."""
    return panel("Links you made", *own_links())


# --- callbacks -----------------------------------------------------------------------------------


@callback(
    Output(ids.SHARE_MADE, "children"),
    Output(ids.SHARE_LIST, "children", allow_duplicate=True),
    Output(ids.SHARE_TICK, "disabled"),
    Output(ids.SHARE_PASSWORD, "value"),
    Input(ids.SHARE_MAKE, "n_clicks"),
    State(ids.SHARE_OF, "data"),
    State(ids.SHARE_KEEP, "value"),
    State(ids.SHARE_DAYS, "value"),
    State(ids.SHARE_VIEWS, "value"),
    State(ids.SHARE_PASSWORD, "value"),
    prevent_initial_call=True,
)
def make(
    clicks: int | None,
    recording_ids: list[str],
    choices: list[str] | None,
    days: int | None,
    views: int | None,
    password: str | None,
) -> Any:
    """Make a link and tell it, once."""
    if not clicks:
        return no_update, no_update, no_update, no_update
    shares = get_records().shares
    try:
        row, token = shares.create(
            recording_ids,
            choices or [],
            days=0 if days is None else days,
            password=password or "",
            max_views=views,
            actor=security.current_actor(),
        )
    except RedysError as error:
        return failed(error), no_update, no_update, no_update
    shares.wait(row.id, AT_ONCE_S)
    address = flask.request.host_url.rstrip("/") + routes.shared_link(token)
    return _made(row, address), _list(recording_ids), False, ""


def _made(row: ShareRow, address: str) -> html.Div:
    return notice(
        "info",
        html.P([html.Strong(f"Link {row.code}. "), "It is shown this once and kept nowhere: copy it now."]),
        html.Div(
            [
                html.Label("The link", htmlFor=ids.SHARE_ADDRESS, className="visually-hidden"),
                dbc.Input(
                    id=ids.SHARE_ADDRESS,
                    value=address,
                    readonly=True,
                    className=f"share-address {NOT_TRANSLATED}",
                ),
                dcc.Clipboard(content=address, title="Copy the link", className="btn btn-outline-secondary"),
            ],
            className="share-copy",
        ),
        html.P("It opens as soon as what it shows is prepared; the list below says when.", className="quiet"),
    )


@callback(
    Output(ids.SHARE_LIST, "children", allow_duplicate=True),
    Output(ids.SHARE_TICK, "disabled", allow_duplicate=True),
    Input(ids.SHARE_TICK, "n_intervals"),
    State(ids.SHARE_OF, "data"),
    prevent_initial_call=True,
)
def look(_ticks: int | None, recording_ids: list[str]) -> Any:
    """Say when a link has been prepared, then stop asking."""
    rows = get_records().shares.list_own(security.current_actor(), recording_ids)
    is_working = any(row.state == "preparing" for row in rows)
    listed = list_links(rows)
    return [listed, loading("Preparing what the link shows …")] if is_working else listed, not is_working


@callback(
    Output(ids.SHARE_LIST, "children", allow_duplicate=True),
    Input(ids.share_revoke(ALL), "n_clicks"),
    State(ids.SHARE_OF, "data"),
    prevent_initial_call=True,
)
def revoke(clicks: list[int | None], recording_ids: list[str]) -> Any:
    """End one link."""
    chosen = ctx.triggered_id
    if not isinstance(chosen, dict) or not any(clicks):
        return no_update
    shares, actor = get_records().shares, security.current_actor()
    try:
        shares.revoke(chosen["link"], actor)
    except RedysError as error:
        return [failed(error), list_links(shares.list_own(actor, recording_ids), not recording_ids)]
    return list_links(shares.list_own(actor, recording_ids), not recording_ids)


@callback(
    Output(ids.SHARE_LIST, "children", allow_duplicate=True),
    Input(ids.SHARE_REVOKE_ALL, "n_clicks"),
    prevent_initial_call=True,
)
def revoke_all(clicks: int | None) -> Any:
    """End all of one's links."""
    if not clicks:
        return no_update
    shares, actor = get_records().shares, security.current_actor()
    shares.revoke_all(actor)
    return list_links(shares.list_own(actor), named=True)
