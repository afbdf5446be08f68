"""The age at the scan by series: one study may hold series of several examinations."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("series_ages", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("studies", "series_ages")
