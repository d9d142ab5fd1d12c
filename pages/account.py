"""One's own sign-in: the password, and a code beside it."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import as_written
from components.security import current_actor, current_name
from components.states import failed, notice
from components.status import panel
from pipeline.errors import RedysError
from records import get_records
from records.passwords import MAXIMUM_PASSWORD, MINIMUM_PASSWORD
from records.second_factor import draw_secret

dash.register_page(__name__, path=routes.ACCOUNT, title="Your sign-in - ReDys")


def layout(**_: Any) -> Any:
    """Both parts; without sign-in there is nothing to set."""
    if current_name() is None:
        words = "Nobody signs in here: this server answers this computer only."
        return [html.H1("Your sign-in"), notice("info", html.P(words))]
    return html.Article(
        [
            html.H1("Your sign-in"),
            _given_note(),
            panel("A code beside the password", html.Div(_factor(), id=ids.FACTOR)),
            _password_panel(),
        ],
        className="report admin",
    )


def _given_note() -> html.Div | None:
    """Says that the password has to be changed first, and until when that can be done."""
    user = get_records().users.get(current_actor())
    if user is None or user.password_ends is None:
        return None
    words = f"It ends on {user.password_ends:%Y-%m-%d} at {user.password_ends:%H:%M} UTC."
    return notice("partial", html.P(policy.PASSWORD_FIRST), html.P(words))


def _factor() -> list[Any]:
    user = get_records().users.get(current_actor())
    if user is not None and user.has_totp:
        return [
            html.P("You sign in with a code as well. One of your codes on paper works instead, once each."),
            html.Div(
                [
                    _field("A code", dbc.Input(id=ids.FACTOR_OFF_CODE, autocomplete="one-time-code")),
                    html.Button(
                        "Do without the code", id=ids.FACTOR_OFF, className="btn btn-outline-secondary"
                    ),
                ],
                className="keep-form",
            ),
            html.Div(id=ids.FACTOR_ANSWER, role="status"),
        ]
    secret = get_records().second_factor.propose()
    name = current_name() or ""
    spaced = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return [
        notice("partial", html.P(policy.FACTOR_FIRST)) if policy.lacks_second_factor() else None,
        html.Div(
            [
                html.Img(
                    src=draw_secret(secret, name),
                    width=220,
                    height=220,
                    alt="The secret below as a picture for an authenticator",
                ),
                html.Div(
                    [
                        html.P("Read the picture with an authenticator on your phone, or type the secret:"),
                        html.P(html.Code(as_written(spaced), className="told-once")),
                        html.P("Then give the six digits that it shows."),
                        _field("Code", dbc.Input(id=ids.FACTOR_CODE, autocomplete="one-time-code")),
                        html.Button("Sign in with codes from now on", id=ids.FACTOR_GO,
                                    className="btn btn-primary"),
                    ]
                ),
            ],
            className="factor",
        ),
        dcc.Store(id=ids.FACTOR_SECRET, data=secret),
        html.Div(id=ids.FACTOR_ANSWER, role="status"),
    ]  # fmt: skip


def _password_panel() -> html.Section:
    def field(words: str, name: str, kind: str) -> html.Div:
        return _field(
            words, dbc.Input(id=name, type="password", autocomplete=kind, maxLength=MAXIMUM_PASSWORD)
        )

    return panel(
        "Password",
        html.Div(
            [
                field("Present password", ids.ACCOUNT_OLD, "current-password"),
                field(f"New password, {MINIMUM_PASSWORD} letters or more", ids.ACCOUNT_NEW, "new-password"),
                html.Button("Change the password", id=ids.ACCOUNT_GO, className="btn btn-primary"),
            ],
            className="keep-form",
        ),
        html.Div(id=ids.ACCOUNT_ANSWER, role="status"),
        lead="All your sessions end with it, this one too: sign in again with the new one.",
    )


def _field(words: str, control: Any) -> html.Div:
    return html.Div([html.Label(words, htmlFor=control.id), control], className="field")


@callback(
    Output(ids.FACTOR, "children"),
    Output(ids.FACTOR_ANSWER, "children"),
    Input(ids.FACTOR_GO, "n_clicks"),
    State(ids.FACTOR_SECRET, "data"),
    State(ids.FACTOR_CODE, "value"),
    prevent_initial_call=True,
)
def set_up(clicks: int | None, secret: str | None, code: str | None) -> tuple[Any, Any]:
    """Keep the secret, and tell the codes on paper."""
    if not clicks or current_name() is None:
        raise PreventUpdate
    try:
        codes = get_records().second_factor.confirm(current_actor(), secret or "", code or "")
    except RedysError as error:
        return no_update, failed(error)
    told = [
        notice(
            "info",
            html.P("From now on you sign in with a code as well."),
            html.P("For a lost phone, write these down; each works once, and they are told only now:"),
            html.Ul([html.Li(as_written(each)) for each in codes], className="recovery-codes"),
        ),
        html.P(html.A("Go on", href=policy.home())),
    ]
    return told, no_update


@callback(
    Output(ids.FACTOR, "children", allow_duplicate=True),
    Output(ids.FACTOR_ANSWER, "children", allow_duplicate=True),
    Input(ids.FACTOR_OFF, "n_clicks"),
    State(ids.FACTOR_OFF_CODE, "value"),
    prevent_initial_call=True,
)
def do_without(clicks: int | None, code: str | None) -> tuple[Any, Any]:
    """Take the second factor away, for who can still show a code."""
    if not clicks or current_name() is None:
        raise PreventUpdate
    factor, actor = get_records().second_factor, current_actor()
    if not factor.check(actor, code or ""):
        return no_update, failed(RedysError("The code is not right.", "Give the newest one."))
    factor.remove(actor, actor)
    link = html.A("Sign in again", href=routes.SIGN_IN)
    return [notice("info", html.P(["You sign in without a code from now on. ", link]))], no_update


@callback(
    Output(ids.ACCOUNT_ANSWER, "children"),
    Input(ids.ACCOUNT_GO, "n_clicks"),
    State(ids.ACCOUNT_OLD, "value"),
    State(ids.ACCOUNT_NEW, "value"),
    prevent_initial_call=True,
)
def change_password(clicks: int | None, old: str | None, new: str | None) -> Any:
    """Change one's own password."""
    if not clicks or current_name() is None:
        raise PreventUpdate
    try:
        get_records().users.change_password(current_actor(), old or "", new or "")
    except RedysError as error:
        return failed(error)
    return notice("info", html.P(["It is changed. ", html.A("Sign in again", href=routes.SIGN_IN)]))
