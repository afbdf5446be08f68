"""Studies that arrive instance by instance."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "arrivals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("study_index", sa.String(length=64), nullable=False),
        sa.Column("patient_index", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=True),
        sa.Column("whole_at", sa.Double(), nullable=True),
        sa.Column("final_at", sa.Double(), nullable=True),
        sa.Column("wait_until", sa.Double(), nullable=True),
        sa.Column("fault", sa.String(length=64), nullable=True),
        sa.Column("study_id", sa.String(length=36), nullable=True),
        sa.Column("late_study_id", sa.String(length=36), nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(["late_study_id"], ["studies.id"], name=op.f("fk_arrivals_late_study_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_arrivals_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrivals")),
        sa.UniqueConstraint("site", "study_index", name=op.f("uq_arrivals_site")),
    )
    op.create_index("ix_arrivals_status_last", "arrivals", ["status", "last_at"], unique=False)
    op.create_index(op.f("ix_arrivals_study_id"), "arrivals", ["study_id"], unique=False)

    op.create_table(
        "arrived_instances",
        sa.Column("arrival_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sop_index", sa.String(length=64), nullable=False),
        sa.Column("upload_id", sa.String(length=36), nullable=False),
        sa.Column("stored_sha256", sa.String(length=64), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("bundle", sa.String(length=300), nullable=True),
        sa.Column("arrived_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrivals.id"], name=op.f("fk_arrived_instances_arrival_id")),
        sa.PrimaryKeyConstraint("arrival_id", "digest", name=op.f("pk_arrived_instances")),
        sa.UniqueConstraint("upload_id", name=op.f("uq_arrived_instances_upload_id")),
    )
    op.create_index("ix_arrived_instances_sop", "arrived_instances", ["arrival_id", "sop_index"], unique=False)

    op.create_table(
        "appraisals",
        sa.Column("study_id", sa.String(length=36), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("eligible", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_appraisals_study_id")),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_appraisals")),
    )


def downgrade() -> None:
    op.drop_table("appraisals")
    op.drop_table("arrived_instances")
    op.drop_table("arrivals")
