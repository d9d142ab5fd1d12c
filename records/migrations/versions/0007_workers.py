"""Several workers on a machine; what a run needs; stages that another worker does meanwhile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    """Add the columns and the table; a run at work now is at work on its machine as a whole."""
    op.execute("ALTER TABLE run ADD COLUMN needs TEXT DEFAULT 'cpu' NOT NULL")
    op.execute("ALTER TABLE run ADD COLUMN worker TEXT DEFAULT '' NOT NULL")
    op.drop_index("uq_run_running_host", table_name="run")
    op.create_index(
        "uq_run_running_worker",
        "run",
        ["host", "worker"],
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    )
    op.create_table(
        "run_part",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.CheckConstraint("state IN ('offered', 'taken', 'done', 'closed')", name=op.f("ck_run_part_state")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_run_part_run_id_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_part")),
        sa.UniqueConstraint("run_id", "stage", name=op.f("uq_run_part_run_id")),
    )


def downgrade() -> None:
    """Take them out; all but one of a machine's runs at work go back into the queue."""
    op.drop_table("run_part")
    op.drop_index("uq_run_running_worker", table_name="run")
    op.execute(
        "UPDATE run SET state = 'queued', host = NULL, heartbeat = NULL, supervisor_pid = NULL, "
        "supervisor_started = NULL, child_pid = NULL, child_started = NULL WHERE state = 'running' AND "
        "EXISTS (SELECT 1 FROM run other WHERE other.state = 'running' AND other.host = run.host "
        "AND other.id < run.id)"
    )
    op.create_index(
        "uq_run_running_host",
        "run",
        ["host"],
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    )
    op.execute("ALTER TABLE run DROP COLUMN worker")
    op.execute("ALTER TABLE run DROP COLUMN needs")
