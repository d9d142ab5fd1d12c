"""Rigs that are kept, and which recording was given which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the recordings' link to it."""
    op.create_table(
        "rig",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_run_id", sa.Text(), nullable=True),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("cameras", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["from_run_id"], ["run.id"], name=op.f("fk_rig_from_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rig")),
        sa.UniqueConstraint("digest", name=op.f("uq_rig_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_rig_name")),
    )
    # In one statement, which SQLite can do in place: copying the table would drop the one that runs point to.
    op.execute(
        "ALTER TABLE recording ADD COLUMN rig_id TEXT CONSTRAINT fk_recording_rig_id_rig REFERENCES rig (id)"
    )
    op.create_index(op.f("ix_recording_rig_id"), "recording", ["rig_id"], unique=False)


def downgrade() -> None:
    """Take the link out, then the table."""
    op.drop_index(op.f("ix_recording_rig_id"), table_name="recording")
    op.execute("ALTER TABLE recording DROP COLUMN rig_id")
    op.drop_table("rig")
