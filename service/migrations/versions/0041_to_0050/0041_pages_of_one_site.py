"""Pages of one site's studies and arrivals are read along an index: all of the site's were sorted for each."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_studies_site_seq", "studies", ["site", "seq"])
    op.create_index("ix_arrivals_site_last", "arrivals", ["site", "last_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_arrivals_site_last", "arrivals")
    op.drop_index("ix_studies_site_seq", "studies")
