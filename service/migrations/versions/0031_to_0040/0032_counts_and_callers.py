"""What came in, in counters that outlive a process, and who was turned away."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_counters")),
    )
    op.create_table(
        "turned_away",
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("reason", "address", "ae_title", name=op.f("pk_turned_away")),
    )
    op.create_index("ix_turned_away_last", "turned_away", ["last_at"])
    op.create_index("ix_arrivals_last", "arrivals", ["last_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_arrivals_last", "arrivals")
    op.drop_table("turned_away")
    op.drop_table("counters")
