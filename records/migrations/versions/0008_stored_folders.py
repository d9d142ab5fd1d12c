"""What the store has of each folder, for machines without a disk in common."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "stored_folder",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=True),
        sa.Column("changed", moment, nullable=True),
        sa.Column("kept", moment, nullable=True),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.Column("leased_until", moment, nullable=True),
        sa.Column("dropped", moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_folder")),
    )
    for column in ("machine", "dropped"):
        op.create_index(op.f(f"ix_stored_folder_{column}"), "stored_folder", [column], unique=False)


def downgrade() -> None:
    """Take it out; what is in the store alone is not found any more."""
    op.drop_table("stored_folder")
