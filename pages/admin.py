"""For administrators: users, the audit, the trash, erasing a person."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, Input, Output, State, callback, ctx, html, no_update
from dash.exceptions import PreventUpdate

from components import admin, ids, routes
from components.security import current_actor
from components.states import failed, notice
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path=routes.ADMIN, title="Administration - ReDys")


def layout(**_: Any) -> Any:
    """The four parts."""
    return html.Article(
        [
            html.H1("Administration"),
            admin.users_panel(),
            admin.trash_panel(),
            admin.erase_panel(),
            admin.audit_panel(),
        ],
        className="report admin",
    )


@callback(
    Output(ids.ADMIN_USERS, "children"),
    Output(ids.ADMIN_USERS_ANSWER, "children"),
    Output(ids.ADMIN_NAME, "value"),
    Input(ids.ADMIN_ADD, "n_clicks"),
    State(ids.ADMIN_NAME, "value"),
    State(ids.ADMIN_ROLE, "value"),
    prevent_initial_call=True,
)
def add_user(clicks: int | None, name: str | None, role: Any) -> tuple[Any, Any, Any]:
    """Add someone, and tell their password."""
    if not clicks:
        raise PreventUpdate
    users = get_records().users
    try:
        user, password = users.invite(name or "", role, current_actor())
    except RedysError as error:
        return no_update, failed(error), no_update
    return admin.users_table(users.list()), admin.password_note(user.name, password), ""


@callback(
    Output(ids.ADMIN_USERS, "children", allow_duplicate=True),
    Output(ids.ADMIN_USERS_ANSWER, "children", allow_duplicate=True),
    Input(ids.admin_do(ALL, ALL), "n_clicks"),
    State(ids.admin_role(ALL), "value"),
    State(ids.admin_role(ALL), "id"),
    prevent_initial_call=True,
)
def change_user(clicks: list[int | None], chosen: list[Any], places: list[dict[str, str]]) -> tuple[Any, Any]:
    """Give a role, end sessions, renew a password, disable or enable."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate
    action, user_id = str(ctx.triggered_id["action"]), str(ctx.triggered_id["user"])
    roles = {place["user"]: role for place, role in zip(places, chosen, strict=True)}
    try:
        said = _change(action, user_id, roles.get(user_id))
    except RedysError as error:
        said = failed(error)
    return admin.users_table(get_records().users.list()), said


def _change(action: str, user_id: str, role: Any) -> Any:
    users, actor = get_records().users, current_actor()
    if action == "password":
        password = users.renew_password(user_id, actor)
        user = users.get(user_id)
        return admin.password_note(user.name if user else "", password)
    if action == "role":
        user = users.set_role(user_id, role, actor)
        return notice("info", html.P(f"The role is {user.role} now, and all sessions are ended."))
    if action == "code":
        get_records().second_factor.remove(user_id, actor)
        return notice("info", html.P("This user signs in without a code from now on."))
    if action == "end":
        users.end_sessions(user_id, actor)
        return notice("info", html.P("All sessions of this user are ended."))
    users.set_disabled(user_id, action == "disable", actor)
    words = "This user may not sign in any more." if action == "disable" else "This user may sign in again."
    return notice("info", html.P(words))


@callback(
    Output(ids.ADMIN_AUDIT, "children"),
    Input(ids.ADMIN_AUDIT_PAGE, "active_page"),
    prevent_initial_call=True,
)
def turn_page(page: int | None) -> Any:
    """Another page of the audit."""
    return admin.audit_table(max(1, page or 1))


@callback(
    Output(ids.ADMIN_VERIFIED, "children"), Input(ids.ADMIN_VERIFY, "n_clicks"), prevent_initial_call=True
)
def verify(clicks: int | None) -> Any:
    """Walk the chain of the audit."""
    if not clicks:
        raise PreventUpdate
    try:
        head = get_records().audit.verify()
    except RedysError as error:
        return failed(error)
    return notice("info", html.P(f"The audit is whole: {head.count} events."))


@callback(
    Output(ids.ADMIN_TRASH, "children"),
    Output(ids.ADMIN_TRASH_ANSWER, "children"),
    Input(ids.admin_purge(ALL), "n_clicks"),
    prevent_initial_call=True,
)
def purge(clicks: list[int | None]) -> tuple[Any, Any]:
    """Remove a recording in the trash for good."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate
    try:
        erased = get_records().retention.purge_one(str(ctx.triggered_id["recording"]), current_actor())
    except RedysError as error:
        return admin.trash_table(), failed(error)
    said = notice("info", html.P("It is removed for good."), *admin.outside_note(erased.outside))
    return admin.trash_table(), said


@callback(
    Output(ids.ADMIN_ERASE_PLAN, "children"),
    Input(ids.ADMIN_ERASE_LOOK, "n_clicks"),
    State(ids.ADMIN_ERASE, "value"),
    prevent_initial_call=True,
)
def look(clicks: int | None, pseudonym: str | None) -> Any:
    """What erasing a person would take."""
    if not clicks:
        raise PreventUpdate
    try:
        return admin.erase_plan(get_records().retention.plan_erasure(pseudonym or ""))
    except RedysError as error:
        return failed(error)


@callback(
    Output(ids.ADMIN_ERASE_ANSWER, "children"),
    Output(ids.ADMIN_ERASE_PLAN, "children", allow_duplicate=True),
    Output(ids.ADMIN_TRASH, "children", allow_duplicate=True),
    Input(ids.ADMIN_ERASE_GO, "n_clicks"),
    State(ids.ADMIN_ERASE, "value"),
    State(ids.ADMIN_ERASE_AGAIN, "value"),
    prevent_initial_call=True,
)
def erase(clicks: int | None, pseudonym: str | None, again: str | None) -> tuple[Any, Any, Any]:
    """Erase a person, if the pseudonym was written twice."""
    if not clicks:
        raise PreventUpdate
    try:
        if not pseudonym or pseudonym != again:
            raise RedysError("The two pseudonyms are not the same. Nothing was erased.", "Write both again.")
        erased = get_records().retention.erase_subject(pseudonym, current_actor())
    except RedysError as error:
        return failed(error), no_update, no_update
    words = f"Erased: {erased.recordings} recordings, {erased.runs} runs."
    said = notice("info", html.P(words), *admin.outside_note(erased.outside))
    return said, [], admin.trash_table()
