"""When retention took the images of an arrival: what comes later is an input of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("input_removed_at", sa.Double(), nullable=True))
    op.execute(
        "UPDATE arrivals SET fault = NULL, input_removed_at = (SELECT studies.input_removed_at FROM studies "
        "WHERE studies.id = arrivals.study_id) WHERE fault = 'input_removed'"
    )


def downgrade() -> None:
    op.execute("UPDATE arrivals SET fault = 'input_removed' WHERE input_removed_at IS NOT NULL AND fault IS NULL")
    op.drop_column("arrivals", "input_removed_at")
