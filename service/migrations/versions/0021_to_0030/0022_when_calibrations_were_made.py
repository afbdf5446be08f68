"""The day that a calibration was made, which was read out of its file at every claim."""

from datetime import date

import sqlalchemy as sa
from alembic import op
from pydantic import BaseModel, ValidationError

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


class Made(BaseModel):
    created: date


def upgrade() -> None:
    op.add_column("calibrations", sa.Column("created", sa.String(length=10), nullable=False, server_default=""))
    with op.batch_alter_table("calibrations") as table:
        table.alter_column("created", server_default=None, existing_type=sa.String(length=10), existing_nullable=False)
    _fill()


def _fill() -> None:
    calibrations = sa.table("calibrations", sa.column("digest"), sa.column("file"), sa.column("created"))
    connection = op.get_bind()
    digests = connection.scalars(sa.select(calibrations.c.digest).distinct()).all()
    for digest in digests:
        ours = calibrations.c.digest == digest
        file = connection.scalars(sa.select(calibrations.c.file).where(ours).limit(1)).one()
        connection.execute(sa.update(calibrations).where(ours).values(created=_created(file)))


def _created(file: bytes) -> str:
    """Return the day as 2027-01-31; of a file that does not say, what sorts before all days."""
    try:
        return Made.model_validate_json(file).created.isoformat()
    except ValidationError:
        return ""


def downgrade() -> None:
    op.drop_column("calibrations", "created")
