"""Seals of rows that grant or prove; the first start of this version fills them in (trust.establishing)."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

SEALED = ("api_keys", "bundles", "calibrations", "sessions", "sign_in_links")


def upgrade() -> None:
    for table in SEALED:
        op.add_column(table, sa.Column("seal", sa.String(length=64), nullable=True))
    op.add_column("audit_head", sa.Column("counter", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("audit_head") as batch:
        batch.alter_column("counter", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("audit_head") as batch:
        batch.drop_column("counter")
    for table in SEALED:
        with op.batch_alter_table(table) as batch:
            batch.drop_column("seal")
