"""Merges of patients of whom nothing has come yet."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("patient_updates", sa.Column("site", sa.String(length=64), nullable=True))
    op.create_index("ix_patient_updates_merges", "patient_updates", ["site", "patient_index"])


def downgrade() -> None:
    op.drop_index("ix_patient_updates_merges", "patient_updates")
    op.drop_column("patient_updates", "site")
