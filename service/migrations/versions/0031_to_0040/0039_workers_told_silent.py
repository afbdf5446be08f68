"""Whether a worker's silence was told. Those of before are told: nobody wants to hear of last month's."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("told_silent", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.drop_column("workers", "told_silent")
