"""Figures of answers in columns, for reports over a cohort."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NUMBERS = (
    "brain_age", "brain_age_lower", "brain_age_upper", "gap_corrected", "sdmt", "sdmt_lower", "sdmt_upper", "distance",
    "percentile", "pca_1", "pca_2", "field_strength_t",
)  # fmt: skip
TEXTS = {"code": 64, "sdmt_evidence": 200, "decision": 16, "manufacturer": 80, "model": 80, "sequence": 200}


def upgrade() -> None:
    op.create_table(
        "figures",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in NUMBERS),
        *(sa.Column(name, sa.String(length=length), nullable=True) for name, length in TEXTS.items()),
        sa.Column("measures", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("preprocessing_digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_figures")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_figures_run_id")),
    )


def downgrade() -> None:
    op.drop_table("figures")
