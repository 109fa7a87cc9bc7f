"""The parts of the process runtime that need no process: the journal, the frames on the socket, commands, accounts."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from batchyard.engines.local.process import slots as slots_module
from batchyard.engines.local.process.journal import Begun, Journal, Opened, boot_id, read_past
from batchyard.engines.local.process.protocol import (
    Acknowledge,
    Recall,
    Stop,
    encode_frame,
    runner_frame_reader,
)
from batchyard.engines.local.process.slots import Slots, removal_command
from batchyard.kernel.messages import TaskExited, TaskLost

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32
MESSAGES = [Stop(FIRST, 1.5), Recall([SECOND]), Acknowledge([FIRST, SECOND, THIRD])]


def open_journal(path: Path) -> Journal:
    return Journal(path, Opened(boot_id=boot_id(), cgroups=["/sys/fs/cgroup/x"]), [])


# --- the journal ------------------------------------------------------------------------------------------------------


def test_no_journal_means_that_nothing_was_begun(tmp_path: Path) -> None:
    past = read_past(tmp_path / "journal")
    assert (past.complete, past.begun, past.ended) == (True, {}, {})


def test_the_journal_tells_what_began_and_what_ended(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    exited, lost = TaskExited(SECOND, 7, exit_code=3, reason="why", started_at=5), TaskLost(THIRD, 8)
    for record in (Begun(FIRST, 4), Begun(SECOND, 5), exited, Begun(THIRD, 6), lost):
        journal.append(record)
    past = read_past(tmp_path / "journal")
    assert past.complete
    assert past.cgroups == ["/sys/fs/cgroup/x"]
    assert past.begun == {FIRST: Begun(FIRST, 4)}
    assert past.ended == {SECOND: exited, THIRD: lost}


def test_a_journal_cut_anywhere_never_says_that_a_begun_task_was_not(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    journal.append(Begun(FIRST, 4))
    whole = path.read_bytes()
    journal.append(TaskExited(FIRST, 7, exit_code=0))
    journal.append(Begun(SECOND, 8))
    full = path.read_bytes()
    for size in range(len(whole), len(full) + 1):
        path.write_bytes(full[:size])
        past = read_past(path)
        assert FIRST in past.begun or FIRST in past.ended


@pytest.mark.parametrize("damage", [b"", b"not a line\n", b"\0" * 100 + b"\n"])
def test_a_damaged_journal_is_not_complete(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    journal.append(Begun(FIRST, 4))
    path.write_bytes(damage + path.read_bytes() if damage else b"")
    past = read_past(path)
    assert not past.complete
    assert list(past.begun) == ([FIRST] if damage else [])


def test_a_journal_of_another_boot_is_not_complete(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", Opened(boot_id="another", cgroups=[]), [Begun(FIRST, 4)])
    past = read_past(tmp_path / "journal")
    assert not past.complete
    assert list(past.begun) == [FIRST]


def test_the_journal_is_rewritten_with_what_matters(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    while not journal.is_long:
        journal.append(Begun(FIRST, 4))
    journal.rewrite([Begun(SECOND, 5)])
    assert not journal.is_long
    journal.append(Begun(THIRD, 6))
    assert list(read_past(path).begun) == [SECOND, THIRD]
    assert path.stat().st_size < 1000
    journal.remove()
    assert list(tmp_path.iterdir()) == []


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_may_be_cut_anywhere(step: int) -> None:
    data = encode_frame(MESSAGES[:1]) + encode_frame([]) + encode_frame(MESSAGES[1:])
    reader = runner_frame_reader()
    received = [message for start in range(0, len(data), step) for message in reader.feed(data[start : start + step])]
    assert received == MESSAGES


def test_a_field_that_this_version_does_not_know_is_passed_over() -> None:
    body = msgspec.msgpack.encode([{"type": "Stop", "task_id": FIRST, "grace_seconds": 2, "new": [1]}])
    assert runner_frame_reader().feed(len(body).to_bytes(4, "big") + body) == [Stop(FIRST, 2.0)]


@pytest.mark.parametrize("junk", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\2\x91\x01"])
def test_nonsense_is_refused(junk: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        runner_frame_reader().feed(junk)


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_clean_place_is_used_again_and_another_is_not(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "scratch", None)
    first = slots.take()
    slots.give_back(first, is_empty=True)
    assert slots.take() is first
    for spoil in (
        lambda slot: Path(slot.work, "file").touch(),
        lambda slot: Path(slot.temporary, "file").touch(),
        lambda slot: os.chmod(slot.work, 0o777),
        lambda slot: os.rmdir(slot.work),
    ):
        slot = slots.take()
        spoil(slot)
        slots.give_back(slot, is_empty=True)
        assert slots.take() is not slot
        assert not Path(slot.folder).exists()
        assert len(slots.take_rubbish()) == 1
    busy = slots.take()
    slots.give_back(busy, is_empty=False)
    assert slots.take() is not busy


def test_what_a_task_left_in_a_place_long_clean_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short cut for places that have not changed for a while."""
    monkeypatch.setattr(slots_module, "_CLOCK_TICK_NANOSECONDS", 0)
    slots = Slots(tmp_path / "scratch", None)
    first = slots.take()
    slots.give_back(first, is_empty=True)
    probe = tmp_path / "probe"
    while not probe.exists() or probe.stat().st_ctime_ns <= Path(first.temporary).stat().st_ctime_ns:
        probe.write_text("the clock of the file system moves on")
    assert slots.take() is first
    slots.give_back(first, is_empty=True)
    assert slots.take() is first
    Path(first.work, "file").touch()
    slots.give_back(first, is_empty=True)
    assert slots.take() is not first


def test_what_an_earlier_runner_left_is_rubbish(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "12" / "work").mkdir(parents=True)
    slots = Slots(tmp_path / "scratch", None)
    [folder] = slots.take_rubbish()
    assert Path(folder, "work").is_dir()
    assert slots.take_rubbish() == []


def test_what_is_mounted_is_never_removed() -> None:
    assert removal_command(["/proc"]) is None
    command = removal_command(["/no/such/folder"])
    assert command is not None
    assert command[1:] == ["-rf", "--", "/no/such/folder"]
