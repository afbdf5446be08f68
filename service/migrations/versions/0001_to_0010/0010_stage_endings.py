"""An index for the newest endings of a stage, over which its time is averaged."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_attempts_stage_ended", "attempts", ["stage", "ended_at"])


def downgrade() -> None:
    op.drop_index("ix_attempts_stage_ended", table_name="attempts")
