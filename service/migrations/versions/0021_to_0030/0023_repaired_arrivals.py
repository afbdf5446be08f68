"""What it takes to see that a study at fault was sent again as corrected: whose each instance is, and when it came."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("repair_from", sa.Double(), nullable=True))
    op.add_column("arrived_instances", sa.Column("patient_index", sa.String(length=64), nullable=True))
    op.add_column("arrived_instances", sa.Column("seen_at", sa.Double(), nullable=True))
    # Whose the instances of a study at fault are was not noted: each must be sent again before it counts as mended.
    op.execute("UPDATE arrivals SET repair_from = last_at WHERE fault IS NOT NULL")
    op.execute(
        "UPDATE arrived_instances SET patient_index = upload_id "
        "WHERE arrival_id IN (SELECT id FROM arrivals WHERE fault IS NOT NULL)"
    )


def downgrade() -> None:
    op.drop_column("arrived_instances", "seen_at")
    op.drop_column("arrived_instances", "patient_index")
    op.drop_column("arrivals", "repair_from")
