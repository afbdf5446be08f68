"""What it takes to see that a patient was corrected at the PACS, and that nothing goes out under the old identity."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("corrected_at", sa.Double(), nullable=True))
    op.add_column("arrived_instances", sa.Column("identity_index", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("withdrawn_at", sa.Double(), nullable=True))
    op.add_column("studies", sa.Column("corrected_by", sa.String(length=36), nullable=True))
    op.add_column("studies", sa.Column("pixel_digest", sa.String(length=64), nullable=True))
    op.create_index("ix_studies_pixels", "studies", ["site", "pixel_digest"])
    op.create_table(
        "retired_identities",
        sa.Column("arrival_id", sa.String(length=36), nullable=False),
        sa.Column("identity_index", sa.String(length=64), nullable=False),
        sa.Column("retired_at", sa.Double(), nullable=False),
        sa.Column("corrected_by", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrivals.id"], name=op.f("fk_retired_identities_arrival_id")),
        sa.PrimaryKeyConstraint("arrival_id", "identity_index", name=op.f("pk_retired_identities")),
    )


def downgrade() -> None:
    op.drop_table("retired_identities")
    op.drop_index("ix_studies_pixels", "studies")
    op.drop_column("studies", "pixel_digest")
    op.drop_column("studies", "corrected_by")
    op.drop_column("runs", "withdrawn_at")
    op.drop_column("arrived_instances", "identity_index")
    op.drop_column("arrivals", "corrected_at")
