"""Roles in place of scopes: a client key becomes a submitter's, a clinical one keeps its sight of identifiers.

Both could send deliveries again, which takes an operator now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("name", sa.String(length=200), nullable=False, server_default=""))
        table.add_column(sa.Column("clinical", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("last_used_at", sa.Double(), nullable=True))
        table.alter_column("scope", new_column_name="role", existing_type=sa.String(length=16), existing_nullable=False)
    op.execute("UPDATE api_keys SET clinical = (role = 'clinical')")
    op.execute("UPDATE api_keys SET role = 'submitter' WHERE role IN ('client', 'clinical')")
    with op.batch_alter_table("api_keys") as table:
        table.alter_column("name", server_default=None, existing_type=sa.String(length=200), existing_nullable=False)
        table.alter_column("clinical", server_default=None, existing_type=sa.Boolean(), existing_nullable=False)


def downgrade() -> None:
    op.execute("UPDATE api_keys SET role = 'clinical' WHERE clinical AND role <> 'worker'")
    op.execute("UPDATE api_keys SET role = 'client' WHERE role NOT IN ('clinical', 'worker')")
    with op.batch_alter_table("api_keys") as table:
        table.alter_column("role", new_column_name="scope", existing_type=sa.String(length=16), existing_nullable=False)
        table.drop_column("name")
        table.drop_column("clinical")
        table.drop_column("last_used_at")
