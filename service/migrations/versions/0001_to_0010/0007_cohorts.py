"""Cohorts, and working copies in the order of urgency."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cohorts",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("bundle", sa.String(length=300), nullable=True),
        sa.Column("schedule", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("member_filter", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_cohorts")),
        sa.UniqueConstraint("id", name=op.f("uq_cohorts_id")),
        sa.UniqueConstraint("site", "name", name=op.f("uq_cohorts_site")),
    )
    op.create_table(
        "cohort_members",
        sa.Column("cohort_id", sa.String(length=36), nullable=False),
        sa.Column("study_id", sa.String(length=36), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("cohort_id", "study_id", name=op.f("pk_cohort_members")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_cohort_members_cohort_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_cohort_members_study_id")),
    )
    op.create_index(op.f("ix_cohort_members_study_id"), "cohort_members", ["study_id"])
    op.create_table(
        "scan_facts",
        sa.Column("study_id", sa.String(length=36), nullable=False),
        sa.Column("visit", sa.String(length=80), nullable=True),
        sa.Column("scan_site", sa.String(length=80), nullable=True),
        sa.Column("scanner", sa.String(length=80), nullable=True),
        sa.Column("sdmt", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_scan_facts")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_scan_facts_study_id")),
    )
    # 3: what waits for its copy now was all sent to be run
    op.add_column("studies", sa.Column("working_priority", sa.Integer(), nullable=False, server_default="3"))
    op.drop_index(op.f("ix_studies_working_status"), "studies")
    op.create_index("ix_studies_to_copy", "studies", ["working_status", "working_priority", "seq"])


def downgrade() -> None:
    op.drop_index("ix_studies_to_copy", "studies")
    op.create_index(op.f("ix_studies_working_status"), "studies", ["working_status"])
    op.drop_column("studies", "working_priority")
    op.drop_table("scan_facts")
    op.drop_table("cohort_members")
    op.drop_table("cohorts")
