"""When the holder of an attempt was first heard of. Those of before count as heard of: their loss was charged."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("heard_at", sa.Double(), nullable=True))
    op.execute("UPDATE attempts SET heard_at = claimed_at")


def downgrade() -> None:
    op.drop_column("attempts", "heard_at")
