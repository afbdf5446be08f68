"""Why answers are to be looked at, in a column: figures without it are drawn again when a report next needs them."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("figures", sa.Column("reason_codes", sa.String(length=600), nullable=True))


def downgrade() -> None:
    op.drop_column("figures", "reason_codes")
