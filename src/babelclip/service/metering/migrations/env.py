"""What alembic runs: migrations on the connection that tables.open_database gives it."""

from alembic import context

from babelclip.service.metering.tables import METADATA, take_turns

connection = context.config.attributes["connection"]
take_turns(connection)
context.configure(connection=connection, target_metadata=METADATA)
context.run_migrations()
