"""The number of a working copy's claim: who has an older one says nothing about the study any more."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("working_claim", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("studies", "working_claim")
