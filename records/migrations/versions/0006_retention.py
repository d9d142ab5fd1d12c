"""Trash and retention dates of recordings; users' second factor."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing is in the trash, nothing has a date."""
    moment = "TIMESTAMP WITH TIME ZONE" if op.get_bind().dialect.name == "postgresql" else "DATETIME"
    op.execute(f"ALTER TABLE recording ADD COLUMN trashed {moment}")
    op.execute("ALTER TABLE recording ADD COLUMN trashed_by TEXT")
    op.execute("ALTER TABLE recording ADD COLUMN retain_until DATE")
    op.execute(f"ALTER TABLE recording ADD COLUMN retention_noticed {moment}")
    op.create_index("ix_recording_trashed", "recording", ["trashed"])
    op.create_index("ix_recording_retain_until", "recording", ["retain_until"])
    op.execute("ALTER TABLE user_account ADD COLUMN totp_secret TEXT DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE user_account ADD COLUMN totp_step BIGINT DEFAULT 0 NOT NULL")
    op.execute("ALTER TABLE user_account ADD COLUMN recovery TEXT DEFAULT '' NOT NULL")


def downgrade() -> None:
    """Take the columns out; what is in the trash is seen again."""
    for name in ("recovery", "totp_step", "totp_secret"):
        op.execute(f"ALTER TABLE user_account DROP COLUMN {name}")
    op.drop_index("ix_recording_retain_until", "recording")
    op.drop_index("ix_recording_trashed", "recording")
    for name in ("retention_noticed", "retain_until", "trashed_by", "trashed"):
        op.execute(f"ALTER TABLE recording DROP COLUMN {name}")
