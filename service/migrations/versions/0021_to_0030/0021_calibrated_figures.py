"""The site that an answer is calibrated for, among the figures of answers."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("figures", sa.Column("calibrated_for", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("figures", "calibrated_for")
