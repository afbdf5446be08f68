"""What retention has removed, and what it still has to remove from the store."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("planned_at", sa.Double(), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.add_column("studies", sa.Column("input_removed_at", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("tensor_removed_at", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "tensor_removed_at")
    op.drop_column("studies", "input_removed_at")
    op.drop_table("removals")
