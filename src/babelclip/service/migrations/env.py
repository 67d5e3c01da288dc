"""What alembic runs: migrations on the connection that tables.open_database gives it."""

from alembic import context
from sqlalchemy import text

from babelclip.service.tables import METADATA

LOCK = 0x62636C70
"""Of PostgreSQL's advisory locks: two services that start at once take turns."""

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
context.configure(connection=connection, target_metadata=METADATA)
context.run_migrations()
