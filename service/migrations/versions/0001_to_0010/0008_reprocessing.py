"""Reprocessing of cohorts: nights, runs that are held, preprocessing that is used again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reprocessings",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("cohort_id", sa.String(length=36), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("in_window", sa.Boolean(), nullable=False),
        sa.Column("retry_faults", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_reprocessings")),
        sa.UniqueConstraint("id", name=op.f("uq_reprocessings_id")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_reprocessings_cohort_id")),
    )
    op.create_index(op.f("ix_reprocessings_cohort_id"), "reprocessings", ["cohort_id"])
    op.create_index(
        "uq_reprocessings_under_way",
        "reprocessings",
        ["cohort_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.add_column("cohorts", sa.Column("night_begun_at", sa.Double(), nullable=True))
    op.add_column("cohorts", sa.Column("night_fault", sa.String(length=64), nullable=True))
    op.add_column("bundles", sa.Column("preprocessing_digest", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("reprocessing_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_runs_reprocessing_id"), "runs", ["reprocessing_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_reprocessing_id"), "runs")
    op.drop_column("runs", "reprocessing_id")
    op.drop_column("runs", "held")
    op.drop_column("bundles", "preprocessing_digest")
    op.drop_column("cohorts", "night_fault")
    op.drop_column("cohorts", "night_begun_at")
    op.drop_index("uq_reprocessings_under_way", "reprocessings")
    op.drop_table("reprocessings")
