"""What messages said of patients, kept for images that are read later."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "patient_updates",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("study_id", sa.String(length=36), nullable=True),
        sa.Column("arrival_id", sa.String(length=36), nullable=True),
        sa.Column("patient_index", sa.String(length=64), nullable=False),
        sa.Column("becomes_index", sa.String(length=64), nullable=False),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrivals.id"], name=op.f("fk_patient_updates_arrival_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_patient_updates_study_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_patient_updates")),
        sa.UniqueConstraint("id", name=op.f("uq_patient_updates_id")),
    )
    op.create_index(op.f("ix_patient_updates_study_id"), "patient_updates", ["study_id"])
    op.create_index(op.f("ix_patient_updates_arrival_id"), "patient_updates", ["arrival_id"])
    op.create_index("ix_arrivals_patient", "arrivals", ["site", "patient_index"])


def downgrade() -> None:
    op.drop_index("ix_arrivals_patient", "arrivals")
    op.drop_table("patient_updates")
