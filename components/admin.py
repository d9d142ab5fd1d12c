"""The parts of the page for administrators: users, the audit, the trash, erasing a person.

An administrator sees no recording here, only that there are some: identifiers, days and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import dash_bootstrap_components as dbc
from dash import html

from components import ids, security
from components.attributes import as_written, data
from components.retention import table
from components.states import notice
from components.status import panel
from pipeline.errors import RedysError
from records import get_records
from records.backup import find_backup
from records.erasure import list_backup_places
from records.retention import TRASH_DAYS, Plan
from records.rows import AuditRow, UserRow
from records.users import GIVEN_DAYS, ROLES

EVENTS_A_PAGE: Final = 50

ROLE_WORDS: Final = {
    "administrator": "Administrator: users, audit, erasing; sees no recording",
    "clinician": "Clinician: everything about recordings",
    "researcher": "Researcher: reports, and taking numbers away",
    "viewer": "Viewer: reports only",
}


# --- users ---------------------------------------------------------------------------------------


def users_panel() -> html.Section:
    """Everybody who may sign in, and the form for one more; without sign-in there is nobody."""
    if security.current_name() is None:
        return panel(
            "Users",
            notice(
                "info",
                html.P(
                    "There are no users here: nobody signs in, and this server answers this computer only."
                ),
                html.P(
                    "To serve others, add the first administrator with “python -m records add-user NAME "
                    "--role administrator” and set REDYS_HOST."
                ),
            ),
        )
    return panel(
        "Users",
        html.Div(users_table(get_records().users.list()), id=ids.ADMIN_USERS),
        html.Div(id=ids.ADMIN_USERS_ANSWER, role="status"),
        html.Div(
            [
                _field("Name", dbc.Input(id=ids.ADMIN_NAME, maxLength=200, autocomplete="off")),
                _field("Role", role_select(ids.ADMIN_ROLE, "clinician")),
                html.Button("Add this user", id=ids.ADMIN_ADD, className="btn btn-primary"),
            ],
            className="keep-form",
        ),
        lead="A new user gets a password that is told here once. A change of role or password ends all "
        "sessions of that user.",
    )


def role_select(name: Any, chosen: str, **more: Any) -> dbc.Select:
    """Choice of a role, each with what it may."""
    options = [{"label": ROLE_WORDS[role], "value": role} for role in ROLES]
    return dbc.Select(id=name, options=options, value=chosen, **more)


def users_table(users: Sequence[UserRow]) -> html.Div:
    """Everybody: name, role, state, and what can be done."""
    heads = ("Name", "State", "Role", "")
    return table("Users", heads, [_user(user) for user in users])


def _user(user: UserRow) -> html.Tr:
    state = "– disabled" if user.disabled else "● may sign in"
    toggle = ("enable", "Enable") if user.disabled else ("disable", "Disable")
    actions = [("role", "Set the role"), ("end", "End sessions"), ("password", "New password"), toggle]
    choice = html.Label(
        [
            html.Span(["Role of ", as_written(user.name)], className="visually-hidden"),
            role_select(ids.admin_role(user.id), user.role, size="sm"),
        ]
    )
    if user.has_totp:
        actions.append(("code", "Remove the code"))
    buttons = [
        html.Button(words, id=ids.admin_do(action, user.id), className="btn btn-sm btn-outline-secondary")
        for action, words in actions
    ]
    notes = ["signs in with a code as well"] if user.has_totp else []
    if user.password_ends is not None:
        day = f"{user.password_ends:%Y-%m-%d}"
        ended = f"was given a password, which ended on {day}"
        notes.append(ended if user.has_ended_password else f"has a given password, which ends on {day}")
    second = [html.Div(words, className="row-note") for words in notes]
    return html.Tr(
        [
            html.Th(as_written(user.name), scope="row"),
            html.Td([state, *second], **data(label="State")),
            html.Td(choice, **data(label="Role")),
            html.Td(html.Div(buttons, className="admin-buttons"), **data(label="")),
        ]
    )


def password_note(name: str, password: str) -> html.Div:
    """A new password, told once."""
    return notice(
        "info",
        html.P(["The password of ", as_written(name), ", told only now:"]),
        html.P(html.Code(as_written(password), className="told-once")),
        html.P("Hand it over in person, or by another way than the name."),
        html.P(f"It is good for {GIVEN_DAYS} days, and only to be changed for a password of their own."),
    )


# --- audit ---------------------------------------------------------------------------------------


def audit_panel() -> html.Section:
    """The newest events, and the button that walks the chain."""
    return panel(
        "Audit",
        html.Div(
            [
                html.Button("Verify the chain", id=ids.ADMIN_VERIFY, className="btn btn-outline-secondary"),
                html.Div(id=ids.ADMIN_VERIFIED, role="status"),
            ],
            className="keep-form",
        ),
        html.Div(audit_table(1), id=ids.ADMIN_AUDIT),
        dbc.Pagination(
            id=ids.ADMIN_AUDIT_PAGE,
            max_value=max(1, -(-get_records().audit.head().count // EVENTS_A_PAGE)),
            active_page=1,
            fully_expanded=False,
            previous_next=True,
            size="sm",
        ),
        lead="Who did what to which object, and whether it was let. Times are UTC. Nothing can be changed or "
        "removed here; note the end of the chain (“python -m records audit-head”) elsewhere each day.",
    )


def audit_table(page: int) -> html.Div:
    """One page of events, the newest first."""
    found = get_records().audit.list(EVENTS_A_PAGE, (page - 1) * EVENTS_A_PAGE)
    heads = ("When", "Who", "Role", "What", "Object", "Result")
    return table("Audit", heads, [_event(row) for row in found.rows])


def _event(row: AuditRow) -> html.Tr:
    cells: list[Any] = [
        as_written(row.actor),
        row.role or "–",
        html.Code(as_written(row.action)),
        html.Code(as_written(row.object), className="audit-object"),
        "◆ refused" if row.result == "refused" else "● done",
    ]
    heads = ("Who", "Role", "What", "Object", "Result")
    labelled = [html.Td(cell, **data(label=head)) for head, cell in zip(heads, cells, strict=True)]
    return html.Tr([html.Th(f"{row.at:%Y-%m-%d %H:%M:%S}", scope="row"), *labelled])


# --- trash and erasing ---------------------------------------------------------------------------


def trash_panel() -> html.Section:
    """What waits to be removed, without saying of whom."""
    return panel(
        "Trash",
        html.Div(trash_table(), id=ids.ADMIN_TRASH),
        html.Div(id=ids.ADMIN_TRASH_ANSWER, role="status"),
        lead=f"Recordings that somebody put away are removed for good after {TRASH_DAYS} days, or here at "
        "once. Clinicians bring them back on their own page.",
    )


def trash_table() -> Any:
    """Recordings in the trash by their identifiers."""
    retention = get_records().retention
    rows, due = retention.list_trash(), retention.list_due()
    said = html.P(f"Recordings past their date: {len(due)}.", className="hint")
    if not rows:
        return [html.P("The trash is empty.", className="hint"), said]
    body = [
        html.Tr(
            [
                html.Th(html.Code(as_written(row.recording_id)), scope="row"),
                html.Td(f"{row.trashed:%Y-%m-%d}", **data(label="Put there on")),
                html.Td(as_written(row.trashed_by or ""), **data(label="By")),
                html.Td(f"{row.purged_after:%Y-%m-%d}", **data(label="Removed after")),
                html.Td(_sure(row.recording_id), **data(label="")),
            ]
        )
        for row in rows
    ]
    return [table("Trash", ("Recording", "Put there on", "By", "Removed after", ""), body), said]


def _sure(recording_id: str) -> html.Details:
    return html.Details(
        [
            html.Summary("Remove now", className="btn btn-sm btn-outline-danger"),
            html.Button(
                "Yes, remove it for good",
                id=ids.admin_purge(recording_id),
                className="btn btn-sm btn-danger keep-sure",
            ),
        ]
    )


def erase_panel() -> html.Section:
    """Erasing a person in two steps."""
    return panel(
        "Erase a person",
        html.Div(
            [
                _field("Pseudonym", dbc.Input(id=ids.ADMIN_ERASE, maxLength=200, autocomplete="off")),
                html.Button(
                    "See what would go", id=ids.ADMIN_ERASE_LOOK, className="btn btn-outline-secondary"
                ),
            ],
            className="keep-form",
        ),
        html.Div(id=ids.ADMIN_ERASE_PLAN, role="status"),
        html.Div(
            [
                _field(
                    "The pseudonym once more",
                    dbc.Input(id=ids.ADMIN_ERASE_AGAIN, maxLength=200, autocomplete="off"),
                ),
                html.Button("Erase for good", id=ids.ADMIN_ERASE_GO, className="btn btn-danger"),
            ],
            className="keep-form",
        ),
        html.Div(id=ids.ADMIN_ERASE_ANSWER, role="status"),
        html.P(_say_backups(), className="plot-note"),
        lead="Removes all recordings, runs, videos, scores, notes, links and caches of a person. The audit "
        "keeps identifiers that lead to nobody.",
    )


def erase_plan(plan: Plan) -> html.Div:
    """What erasing would take."""
    return notice(
        "partial",
        html.P(
            f"Recordings: {plan.recordings}. Runs: {plan.runs}. Clinical scores: {plan.scores}. "
            "It cannot be undone."
        ),
        *_rigs_note(plan.rigs),
        *outside_note(plan.outside),
    )


def _rigs_note(names: Sequence[str]) -> list[Any]:
    """Rigs stay, since they are cameras; their names may tell of the person."""
    if not names:
        return []
    words = (
        "Rigs that were calibrated in these recordings, or are called after the person, stay under new "
        "names. Copies in other people's recordings keep the old one until they are given the rig again:"
    )
    return [html.P(words), html.Ul([html.Li(as_written(name)) for name in names])]


def outside_note(folders: Sequence[object]) -> list[Any]:
    """Folders that stay, since this program did not make them."""
    if not folders:
        return []
    items = [html.Li(html.Code(as_written(str(folder)))) for folder in folders]
    return [html.P("Outside the data folder, and yours to delete:"), html.Ul(items)]


def _say_backups() -> str:
    names = []
    for place in list_backup_places(get_records().settings.data_dir):
        try:
            names.append(find_backup(place).name)
        except (RedysError, OSError):
            continue  # a disk that is put away
    last = f"The last backup that can be found is {max(names)}." if names else "No backup can be found."
    return f"{last} Backups hold a person until they are dropped; a restore erases them again."


def _field(words: str, control: Any) -> html.Div:
    return html.Div([html.Label(words, htmlFor=control.id), control], className="field")
