"""Of many steps only some lines are picked; of everything else, all."""

import json
from itertools import pairwise

import pytest

from trainer import event_lines
from trainer.event_lines import ONLY_THE_LAST, Picked, whole_lines


def line(kind: str, number: int = 0, **values) -> bytes:
    return json.dumps({"time": 1.5, "event": kind, "step": number, **values}, separators=(",", ":")).encode() + b"\n"


def picked(file, every: int) -> list[dict]:
    """What is parsed of a file, in order."""
    pick, at, found = Picked(every), 0, []
    with open(file, "rb") as opened:
        for piece in whole_lines(opened, 0, file.stat().st_size):
            found += pick.of(piece, at)
            at += len(piece)
    return [json.loads(each) for each in [*found, pick.held] if each]


def write(file, *lines: bytes):
    file.write_bytes(b"".join(lines))
    return file


@pytest.mark.parametrize("chunk", [50, 333, 2**17])
@pytest.mark.parametrize("every", [2, 7, ONLY_THE_LAST])
def test_all_but_steps_and_the_step_before_each_are_picked(tmp_path, monkeypatch, chunk, every):
    monkeypatch.setattr(event_lines, "CHUNK", chunk)
    lines = [line("queued"), line("training")]
    for number in range(300):
        lines.append(line("step", number, loss=1.0))
        if number % 50 == 20:
            lines += [line("evaluating", number), line("eval", number, loss=0.5)]
    found = picked(write(tmp_path / "events", *lines), every)
    others = [event for event in found if event["event"] != "step"]
    assert others == [json.loads(each) for each in lines if b'"step"' not in each.split(b",")[1]]
    assert [before["step"] for before, after in pairwise(found) if after["event"] == "evaluating"] == [
        *range(20, 300, 50)
    ]
    assert found[-1]["step"] == 299 and found[-1]["event"] == "step"
    steps = [event["step"] for event in found if event["event"] == "step"]
    assert steps == sorted(set(steps)), "none twice, all in order"
    if every == 7:
        assert 300 / 8 < len(steps) < 300 / 5 + 12 and max(b - a for a, b in pairwise(steps)) < 12


def test_each_line_is_picked_where_there_are_few(tmp_path):
    file = write(tmp_path / "events", *(line("step", number) for number in range(100)))
    assert [event["step"] for event in picked(file, 1)] == list(range(100))


def test_a_line_longer_than_a_piece_is_whole_and_one_that_was_cut_off_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(event_lines, "CHUNK", 64)
    long = line("note", message="x" * 1000)
    assert len(picked(write(tmp_path / "events", long, line("step", 1), b'{"event":"done"'), 5)) == 2
    assert picked(write(tmp_path / "empty"), 5) == [] == picked(write(tmp_path / "cut", b"{"), 5)
