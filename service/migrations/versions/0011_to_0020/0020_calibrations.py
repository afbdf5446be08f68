"""Calibrations of sites, handed to workers with the runs of their site."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("heads", sa.Integer(), nullable=False),
        sa.Column("expires", sa.String(length=10), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("digest", "owner", name=op.f("pk_calibrations")),
    )
    op.create_index(op.f("ix_calibrations_bundle_digest"), "calibrations", ["bundle_digest"])


def downgrade() -> None:
    op.drop_table("calibrations")
