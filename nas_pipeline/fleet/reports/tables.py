"""The tables `devices` and `reports`, and `open_database`: an SQLite file, or Postgres by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from nas_pipeline.errors import ConfigError

FILE = "reports.db"
_BUSY_S = 30

metadata = sa.MetaData()

devices = sa.Table(
    "devices", metadata,
    sa.Column("device", sa.String(100), primary_key=True),
    sa.Column("target", sa.String(100), nullable=False, index=True),
    sa.Column("keyid", sa.String(128), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("enrolled", sa.DateTime, nullable=False),
    sa.Column("enrolment", sa.Integer, nullable=False),    # 1, 2, ...: incremented for each new key of the device
    sa.Column("retired", sa.Boolean, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("last_sha256", sa.String(64), nullable=False),  # of the last envelope: a duplicate is not a replay
    sa.Column("counter", sa.BigInteger, nullable=False),   # the highest one ever reported
    sa.Column("seen", sa.DateTime),
    sa.Column("flags", sa.Text, nullable=False),           # one per line
)

reports = sa.Table(
    "reports", metadata,
    sa.Column("device", sa.String(100), primary_key=True),
    sa.Column("enrolment", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("target", sa.String(100), nullable=False),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("received", sa.DateTime, nullable=False, index=True),
    sa.Column("event", sa.String(20), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),         # the signed report
    sa.Index("reports_of_a_model", "target", "model", "received"),
)


def open_database(where: str | Path) -> sa.Engine:
    """Returns an engine for an SQLite file or a URL. Creates missing tables.

    Raises:
        ConfigError: The kind of database is unknown, its driver is not installed, or it does not respond. No message
            contains the URL, because it may contain a password.
    """
    url = f"sqlite:///{where}" if isinstance(where, Path) else where
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
    try:
        if "@" in (sa.make_url(url).host or ""):
            raise ValueError  # part of a password, which a message about the host would reveal
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if url.startswith("sqlite") else {}
        engine = sa.create_engine(url, pool_pre_ping=True, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"the database of reports cannot be opened ({type(error).__name__}): give "
                          "postgresql+psycopg://... (pip install 'nas-pipeline[postgres]'), or no URL for an SQLite "
                          "file") from error
    except ValueError:  # its message may contain part of the password
        raise ConfigError("the URL of the database of reports cannot be parsed: in a user name or password, write %40 "
                          "for @, %2F for / and %3A for :") from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure)
        sa.event.listen(engine, "begin", _begin)
    try:
        metadata.create_all(engine)
    except OperationalError as error:
        if engine.dialect.name == "sqlite":
            raise
        raise ConfigError(f"the database of reports does not respond: {error.orig}. Check that it is running, and "
                          "that host, name and password are correct") from error
    return engine


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # otherwise sqlite3 begins a transaction itself, at the first write
    for line in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {line}").close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # serialises concurrent writers
