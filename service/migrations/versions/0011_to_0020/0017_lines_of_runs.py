"""An index for the next runs of one stage and priority."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_runs_line", "runs", ["status", "priority", "dispatched_at", "seq"])


def downgrade() -> None:
    op.drop_index("ix_runs_line", table_name="runs")
