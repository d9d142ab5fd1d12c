"""What people add (marks, clinical scores, corrections), sets of pictures, and a report's verdict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the columns of recordings and runs."""
    # Single statements, which SQLite does in place: copying would drop a table that others point to.
    op.execute(
        "ALTER TABLE recording ADD COLUMN kind TEXT DEFAULT 'video' NOT NULL "
        "CONSTRAINT ck_recording_kind CHECK (kind IN ('video', 'photos'))"
    )
    op.execute("ALTER TABLE run ADD COLUMN quality TEXT DEFAULT '' NOT NULL")
    op.create_table(
        "clinical_score",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("scale", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("blinded", sa.Boolean(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_clinical_score_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinical_score")),
    )
    op.create_index(op.f("ix_clinical_score_subject_id"), "clinical_score", ["subject_id"], unique=False)
    op.create_table(
        "mark",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=True),
        sa.Column("side", sa.Text(), nullable=True),
        sa.Column("joint", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("blinded", sa.Boolean(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('note', 'tag', 'abnormal movement')", name=op.f("ck_mark_kind")),
        sa.CheckConstraint("end_s IS NULL OR end_s >= start_s", name=op.f("ck_mark_order")),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recording.id"], name=op.f("fk_mark_recording_id_recording")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mark")),
    )
    op.create_index(op.f("ix_mark_recording_id"), "mark", ["recording_id"], unique=False)
    op.create_table(
        "correction",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('offset', 'cameras', 'side', 'exclusions')", name=op.f("ck_correction_kind")
        ),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recording.id"], name=op.f("fk_correction_recording_id_recording")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
    )
    op.create_index(op.f("ix_correction_recording_id"), "correction", ["recording_id"], unique=False)
    op.create_index(op.f("ix_correction_created"), "correction", ["created"], unique=False)


def downgrade() -> None:
    """Drop them."""
    for table in ("correction", "mark", "clinical_score"):
        op.drop_table(table)
    op.execute("ALTER TABLE run DROP COLUMN quality")
    op.execute("ALTER TABLE recording DROP COLUMN kind")
