"""Opening a database: durability, migrations, and databases that are not ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from batchyard.store.database import HEAD, SchemaError
from batchyard.store.schema import metadata
from batchyard.store.store import Store


def opened(path: Path) -> Store:
    store = Store(path)
    store.open()
    return store


def test_a_new_database_has_all_tables_and_the_newest_schema(tmp_path: Path) -> None:
    store = opened(tmp_path / "new.db")
    with sqlite3.connect(tmp_path / "new.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert set(metadata.tables) <= tables
    assert versions == [(HEAD,)]
    store.close()


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = opened(tmp_path / "new.db")
    assert store._engine is not None
    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.close()


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "again.db"
    store = opened(path)
    store.write_first_start(
        {"region": "eu-west-1"},
        {"access_key_id": "K", "secret_access_key": "s", "user_name": "admin", "created_at": 1},
    )
    store.close()
    for _ in range(2):
        store = opened(path)
        assert store.settings() == {"region": "eu-west-1"}
        assert [credential["access_key_id"] for credential in store.credentials()] == ["K"]
        store.close()


def test_what_is_committed_survives_a_power_failure(tmp_path: Path) -> None:
    store = opened(tmp_path / "new.db")
    journal = store.read_now(lambda connection: connection.execute(text("PRAGMA journal_mode")).scalar())
    synchronous = store.read_now(lambda connection: connection.execute(text("PRAGMA synchronous")).scalar())
    assert (journal, synchronous) == ("wal", 2)
    store.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999, newer than this version"):
        opened(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(SchemaError, match="not Batchyard's"):
        opened(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 1000)
    with pytest.raises(SchemaError, match="cannot be opened: file is not a database"):
        opened(path)
    assert path.read_text() == "buy milk\n" * 1000


def test_a_migration_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    """An empty file, or one with nothing but the journal mode set, is a new database."""
    path = tmp_path / "empty.db"
    path.touch()
    opened(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
