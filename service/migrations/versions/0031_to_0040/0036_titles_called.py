"""Which of our own AE titles a study was sent to."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("called", sa.String(length=16), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("arrivals", "called")
