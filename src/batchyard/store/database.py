"""Opening the database: engine, pragmas, migrations."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

HEAD = "0006"
"""The newest migration. A database that stands there needs no further look (importing Alembic takes a while)."""


class SchemaError(Exception):
    """The database was written by a newer version, or is no database of ours."""


def open_engine(path: Path) -> Engine:
    """A SQLite database in WAL mode with full synchronisation: what is committed survives a power failure."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=8,
        connect_args={"check_same_thread": False, "timeout": 30, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -65536")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def migrate(engine: Engine) -> None:
    """Brings the schema up to date. Raises `SchemaError` when that can't be."""
    try:
        connection = engine.connect()
    except DatabaseError as error:
        raise SchemaError(f"the database {engine.url.database} cannot be opened: {error.orig}") from error
    with connection:
        tables = set(inspect(connection).get_table_names())
        version = None
        if "alembic_version" in tables:
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        connection.rollback()
        if version == HEAD:
            return
        if version is not None and version > HEAD:
            raise SchemaError(f"the database has schema {version}, newer than this version of Batchyard knows ({HEAD})")
        if version is None and tables:
            raise SchemaError("the database holds tables that are not Batchyard's")
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
        connection.commit()
    except SQLAlchemyError as error:
        raise SchemaError(f"the schema could not be brought up to date: {error}") from error
