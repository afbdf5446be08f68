"""What was done about a scan's site, among the figures of answers."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("figures", sa.Column("site_correction", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("figures", "site_correction")
