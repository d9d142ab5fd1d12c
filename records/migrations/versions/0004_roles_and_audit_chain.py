"""Users' roles; the audit as a chain that the database lets nobody change."""

from __future__ import annotations

import datetime
import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_REFUSAL = "the audit is only added to"


def upgrade() -> None:
    """Add the columns, chain what was written before, and shut the table."""
    op.execute(
        "ALTER TABLE user_account ADD COLUMN role TEXT DEFAULT 'clinician' NOT NULL CONSTRAINT "
        "ck_user_account_role CHECK (role IN ('administrator', 'clinician', 'researcher', 'viewer'))"
    )
    for name in ("role", "previous", "digest"):
        op.execute(f"ALTER TABLE audit_event ADD COLUMN {name} TEXT DEFAULT '' NOT NULL")
    _chain()
    for verb in ("UPDATE", "DELETE"):
        _refuse(verb)


def downgrade() -> None:
    """Open the table and take the columns out.

    What comes before this knows no roles: everybody there is a clinician. Whoever is none is disabled, so
    that nobody sees more than before; an upgrade leaves them disabled, for an administrator to look at.
    """
    op.execute("UPDATE user_account SET disabled = true, epoch = epoch + 1 WHERE role <> 'clinician'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_event_no_update ON audit_event")
        op.execute("DROP TRIGGER audit_event_no_delete ON audit_event")
        op.execute("DROP FUNCTION refuse_audit_change()")
    else:
        op.execute("DROP TRIGGER audit_event_no_update")
        op.execute("DROP TRIGGER audit_event_no_delete")
    for name in ("role", "previous", "digest"):
        op.execute(f"ALTER TABLE audit_event DROP COLUMN {name}")
    op.execute("ALTER TABLE user_account DROP COLUMN role")


def _chain() -> None:
    """As `records.audit.digest_of`, written out: a migration must not change with the program."""
    connection = op.get_bind()
    table = sa.table(
        "audit_event",
        sa.column("id", sa.BigInteger),
        sa.column("at", sa.DateTime(timezone=True)),
        *(sa.column(name, sa.Text) for name in ("actor", "action", "object", "result", "previous", "digest")),
    )
    last = "0" * 64
    for row in connection.execute(sa.select(table).order_by(table.c.id)).all():
        at = row.at.replace(tzinfo=datetime.UTC) if row.at.tzinfo is None else row.at.astimezone(datetime.UTC)
        said = [
            at.isoformat(timespec="microseconds"), row.actor, "", row.action, row.object, row.result, last,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(said, ensure_ascii=True).encode()).hexdigest()
        change = sa.update(table).where(table.c.id == row.id)
        connection.execute(change.values(previous=last, digest=digest))
        last = digest


def _refuse(verb: str) -> None:
    name = f"audit_event_no_{verb.lower()}"
    if op.get_bind().dialect.name != "postgresql":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON audit_event BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {verb} ON audit_event "
        "FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()"
    )
