"""Keys, ledger and totals. A landed migration never changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("tokens_per_minute", sa.Integer),
        sa.Column("tokens_per_day", sa.BigInteger),
        sa.Column("picodollars_per_month", sa.BigInteger),
    )
    amounts = ("tokens", "images", "bytes", "milliseconds", "picodollars")
    op.create_table(
        "ledger",
        sa.Column("request_id", sa.String(40), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("route", sa.String(40), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in amounts),
    )
    op.create_index("ledger_by_day", "ledger", ["day", "key_id"])
    op.create_table(
        "totals",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("model", sa.String(200), primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("requests", *amounts)),
    )


def downgrade() -> None:
    """Take them away."""
    for name in ("totals", "ledger", "keys"):
        op.drop_table(name)
