"""Sessions of browsers, and the one-time links that begin them."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_prefix", sa.String(length=12), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["key_prefix"], ["api_keys.prefix"], name=op.f("fk_sessions_key_prefix")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_key_prefix"), "sessions", ["key_prefix"])
    op.create_table(
        "sign_in_links",
        sa.Column("code_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_prefix", sa.String(length=12), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["key_prefix"], ["api_keys.prefix"], name=op.f("fk_sign_in_links_key_prefix")),
        sa.PrimaryKeyConstraint("code_sha256", name=op.f("pk_sign_in_links")),
    )
    op.create_index(op.f("ix_sign_in_links_key_prefix"), "sign_in_links", ["key_prefix"])


def downgrade() -> None:
    op.drop_table("sign_in_links")
    op.drop_table("sessions")
