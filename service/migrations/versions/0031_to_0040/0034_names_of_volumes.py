"""What may be kept of the names of a study's volumes, where it holds several."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("name", sa.String(length=300), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("instances", "name")
