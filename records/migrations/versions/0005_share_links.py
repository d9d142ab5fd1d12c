"""Links by which collaborators look at a recording or a comparison, and each time that one was opened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "share_link",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.Text(), nullable=False),
        sa.Column("recording_b_id", sa.Text(), nullable=True),
        sa.Column("choices", sa.Text(), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("expires", moment, nullable=False),
        sa.Column("max_views", sa.Integer(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("latest", moment, nullable=False),
        sa.Column("revoked", moment, nullable=True),
        sa.Column("ended", moment, nullable=True),
        sa.CheckConstraint("max_views IS NULL OR used <= max_views", name=op.f("ck_share_link_views")),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recording.id"],
            name=op.f("fk_share_link_recording_id_recording"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["recording_b_id"],
            ["recording.id"],
            name=op.f("fk_share_link_recording_b_id_recording"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_share_link_token_hash")),
    )
    for column in ("owner", "recording_id", "recording_b_id"):
        op.create_index(op.f(f"ix_share_link_{column}"), "share_link", [column], unique=False)
    op.create_table(
        "share_opening",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("link_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("opened", moment, nullable=False),
        sa.Column("expires", moment, nullable=False),
        sa.Column("played", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["link_id"],
            ["share_link.id"],
            name=op.f("fk_share_opening_link_id_share_link"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_opening")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_share_opening_key_hash")),
    )
    op.create_index(op.f("ix_share_opening_link_id"), "share_opening", ["link_id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("share_opening")
    op.drop_table("share_link")
