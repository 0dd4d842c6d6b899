"""The default stores: SQLite and PostgreSQL from one SQL text."""
