"""Pulls from peers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pulls",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("wanted", sa.LargeBinary(), nullable=False),
        sa.Column("wanted_index", sa.String(length=64), nullable=False),
        sa.Column("study_index", sa.String(length=64), nullable=True),
        sa.Column("occasion", sa.String(length=64), nullable=True),
        sa.Column("urgency", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("next_try_at", sa.Double(), nullable=False),
        sa.Column("give_up_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("skipped_instances", sa.Integer(), nullable=False),
        sa.Column("fault", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("arrival_id", sa.String(length=36), nullable=True),
        sa.Column("study_id", sa.String(length=36), nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_pulls")),
        sa.UniqueConstraint("id", name=op.f("uq_pulls_id")),
        sa.UniqueConstraint("occasion", name=op.f("uq_pulls_occasion")),
        sa.ForeignKeyConstraint(["parent_id"], ["pulls.id"], name=op.f("fk_pulls_parent_id")),
    )
    op.create_index(op.f("ix_pulls_parent_id"), "pulls", ["parent_id"])
    op.create_index(op.f("ix_pulls_wanted_index"), "pulls", ["wanted_index"])
    op.create_index(op.f("ix_pulls_study_index"), "pulls", ["study_index"])
    op.create_index("ix_pulls_due", "pulls", ["status", "urgency", "seq"])
    op.create_table(
        "hook_calls",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("called_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_hook_calls")),
    )
    op.create_index(op.f("ix_hook_calls_called_at"), "hook_calls", ["called_at"])
    op.create_table(
        "followed_peers",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_followed_peers")),
    )


def downgrade() -> None:
    op.drop_table("followed_peers")
    op.drop_table("hook_calls")
    op.drop_table("pulls")
