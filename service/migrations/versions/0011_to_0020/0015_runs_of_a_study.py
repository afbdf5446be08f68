"""Indexes for the runs of a study, and for the counts that Prometheus asks for: neither may read every result."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_runs_study", "runs", ["study_id"])
    op.create_index("ix_runs_status_priority_created", "runs", ["status", "priority", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_runs_status_priority_created", table_name="runs")
    op.drop_index("ix_runs_study", table_name="runs")
