"""Answers to POSTs that carried an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "repetitions",
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key_sha256", name=op.f("pk_repetitions")),
    )
    op.create_index(op.f("ix_repetitions_began_at"), "repetitions", ["began_at"])


def downgrade() -> None:
    op.drop_table("repetitions")
