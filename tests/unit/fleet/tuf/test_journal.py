"""The journal: a hash chain that detects manual changes, and tolerates a crash during a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.core.failpoints import VARIABLE
from nas_pipeline.errors import FleetError, StorageError
from nas_pipeline.fleet.tuf.journal import Journal, JournalEntry


def _entry(number: int) -> JournalEntry:
    return JournalEntry(kind="published", when="2026-05-01T00:00:00Z", who="alice", counter=number, target="pi",
                 model="toy--pi", key=f"k{number}", keys=("ab",))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    new = Journal(tmp_path / "fleet")
    for number in range(1, 5):
        new.append(_entry(number))
    return new


def test_entries_round_trip(journal: Journal) -> None:
    assert journal.entries() == tuple(_entry(number) for number in range(1, 5))
    assert journal.verify(journal.head()) == 4


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_changed_line_is_reported_with_its_number(journal: Journal, line: int) -> None:
    lines = journal.path.read_text().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace("alice", "mallory")
    journal.path.write_text("".join(lines))
    with pytest.raises(FleetError, match=f"line {line + 1} does not follow from line {line}"):
        journal.entries()
    with pytest.raises(FleetError):
        journal.append(_entry(9))


def test_a_removed_line_is_reported(journal: Journal) -> None:
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(FleetError, match="line 2 does not follow"):
        journal.verify()


def test_a_truncated_journal_contradicts_the_signed_head(journal: Journal) -> None:
    head = journal.head()
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join(lines[:-1]))
    assert journal.verify() == 3
    with pytest.raises(FleetError, match="cut off"):
        journal.verify(head)


@pytest.mark.parametrize("torn", [b"{", b'{"before":"00'])
def test_an_incomplete_last_line_is_dropped(journal: Journal, torn: bytes) -> None:
    with journal.path.open("ab") as stream:
        stream.write(torn)
    assert len(journal.entries()) == 4
    journal.append(_entry(5))
    assert journal.verify() == 5


def test_a_full_disk_leaves_the_journal_unchanged(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    before = journal.path.read_bytes()
    monkeypatch.setenv(VARIABLE, "journal_done:full")
    with pytest.raises(StorageError, match="No space"):
        journal.append(_entry(5))
    assert journal.path.read_bytes() == before


def test_an_intent_is_unfinished_until_it_or_a_later_change_is_done(journal: Journal) -> None:
    journal.append(_entry(5), "intent")
    assert [entry.counter for entry in journal.unfinished()] == [5]
    journal.append(_entry(6), "intent")
    journal.append(_entry(6))
    assert journal.unfinished() == ()
    with pytest.raises(FleetError, match="not a kind of journal entry"):
        journal.append(JournalEntry(kind="guessed", when="", who=""))
