"""The decision on a run's number as a column, by which runs are listed."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

OF_RESULT = {
    "sqlite": "json_extract(result, '$.assessment.decision')",
    "postgresql": "result #>> '{assessment,decision}'",
}


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("decision", sa.String(length=16), nullable=True))
    found = OF_RESULT[op.get_bind().dialect.name]
    op.execute(f"UPDATE runs SET decision = {found} WHERE result IS NOT NULL")  # noqa: S608 - ours, both of them
    op.create_index("ix_runs_decision_seq", "runs", ["decision", "seq"])


def downgrade() -> None:
    op.drop_index("ix_runs_decision_seq", table_name="runs")
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("decision")
