"""Who is signed in, on the server; passwords that somebody was given end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column; who is signed in now signs in again."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sign_in",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("begun", moment, nullable=False),
        sa.Column("active", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_sign_in_user_id_user_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in")),
    )
    for column in ("user_id", "begun"):
        op.create_index(op.f(f"ix_sign_in_{column}"), "sign_in", [column], unique=False)
    op.add_column("user_account", sa.Column("password_ends", moment, nullable=True))


def downgrade() -> None:
    """Take both out."""
    op.drop_column("user_account", "password_ends")
    op.drop_table("sign_in")
