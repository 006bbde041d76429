"""The two tables of the fleet's reports, and how a database of them is opened: SQLite in a file, or Postgres by URL."""

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
    sa.Column("enrolment", sa.Integer, nullable=False),    # 1, 2, ...: a new key of the same device
    sa.Column("retired", sa.Boolean, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("last_sha256", sa.String(64), nullable=False),  # of the last envelope: one sent twice is no replay
    sa.Column("counter", sa.BigInteger, nullable=False),   # the highest that it ever reported
    sa.Column("seen", sa.DateTime),
    sa.Column("flags", sa.Text, nullable=False),           # one a line
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
    sa.Column("payload", sa.Text, nullable=False),         # the report as it was signed
    sa.Index("reports_of_a_model", "target", "model", "received"),
)


def open_database(where: str | Path) -> sa.Engine:
    """An engine for an SQLite file or a URL; the tables are made where they are missing.

    Raises:
        ConfigError: No such kind of database, its driver is not installed, or it does not answer. No message of ours
            holds the URL: there is a password in it.
    """
    url = f"sqlite:///{where}" if isinstance(where, Path) else where
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
    try:
        if "@" in (sa.make_url(url).host or ""):
            raise ValueError  # the end of a password, which any message about the host would tell
        given: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if url.startswith("sqlite") else {}
        engine = sa.create_engine(url, pool_pre_ping=True, **given)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"the database of reports cannot be opened ({type(error).__name__}): give "
                          "postgresql+psycopg://... (pip install 'nas-pipeline[postgres]'), or no URL for an SQLite "
                          "file") from error
    except ValueError:  # what it says may be a part of the password, so it is not passed on
        raise ConfigError("the URL of the database of reports cannot be read: in a user's name or password, write %40 "
                          "for @, %2F for / and %3A for :") from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up)
        sa.event.listen(engine, "begin", _begin)
    try:
        metadata.create_all(engine)
    except OperationalError as error:
        if engine.dialect.name == "sqlite":
            raise
        raise ConfigError(f"the database of reports does not answer: {error.orig}; is it running, and are host, name "
                          "and password right?") from error
    return engine


def _set_up(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # or sqlite3 begins by itself, and only at the first write
    for line in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {line}").close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # two that take a report at once do so one after the other
