"""Damage stays small: whatever became of the files of one run, every other run is listed, and that one says what is wrong."""

import html
import json
import os
import random

import pytest

from common.errors import UserError
from common.files import write_json, write_text
from common.paths import runs_folder
from runs import history
from runs.queue import advance, order
from runs.run import EventLog, Run, read_state
from tests.queueing import make_run, queued
from trainer.__main__ import main
from ui.train import history_view, run_view

DEEP = b"[" * 200_000
ANSWERS = [{"prompt": "Hi", "answer": "Hello"}]
FINISHED_RUN = [
    {"event": "queued", "base": "tests/tiny-base", "base_reason": "It was asked for."},
    {"event": "preparing", "message": "Reading the data", "precision": "fp32"},
    {"event": "stage", "stage": 1, "stages": 1, "name": "conversations"},
    {"event": "training", "total_steps": 0},
    {"event": "eval", "step": 0, "loss": 3.0},
    {"event": "samples", "step": 0, "answers": ANSWERS},
    *(
        {"event": "step", "step": n, "total_steps": 6, "epoch": n / 6, "loss": 3.0 - n / 4, "grad_norm": 0.5}
        | {"learning_rate": 1e-4, "tokens_per_second": 99.5, "eta_seconds": 6.0 - n, "peak_memory_bytes": 2**30}
        for n in range(1, 7)
    ),
    {"event": "checkpoint", "step": 6},
    {"event": "resumed", "step": 6, "stage": 1},
    {"event": "note", "message": "A note."},
    {"event": "eval", "step": 6, "loss": 1.5},
    {"event": "samples", "step": 6, "answers": ANSWERS},
    {
        "event": "done",
        "adapter": "hurt",
        "metrics": {"loss_before": 3.0, "loss_after": 1.5, "peak_memory_bytes": 2**30},
    },
]
FILES = ("config.yaml", "events.jsonl", "about.json", "process.json", "train.log", "estimate.json", "backup.json")
VALUES = (None, True, -1, 10**400, 1e999, "many", "\ud800", "\0", [], [[]], {}, {"a": {"b": []}}, [{"prompt": 1}])


def finished(name: str) -> Run:
    """A finished run with every file that one has."""
    run = make_run(name)
    for event in FINISHED_RUN:
        EventLog(run).write(**event)
    write_json(run.about_file, {"title": f"Title of {name}", "notes": "a note"})
    write_json(run.process_file, {"launcher": {"pid": 2**22 + 1, "started": 1.0}})
    write_json(run.folder / "estimate.json", {"memory": {"total": 2**30}})
    write_json(run.folder / "backup.json", {"writer": "w", "repo_id": "alice/hurt-checkpoints", "checkpoint": "c-6"})
    write_text(run.log_file, "a line\n")
    return run


def wrong_types(content: bytes, draw: random.Random) -> bytes:
    """One field somewhere in the JSON lines, or the JSON, becomes something else."""
    lines = content.split(b"\n")
    objects = [n for n, line in enumerate(lines) if line.startswith(b"{") and line.endswith(b"}")]
    if not objects:  # YAML, or JSON over several lines
        at = draw.randrange(len(lines))
        lines[at] = lines[at].split(b":")[0] + b": [1, {a: 2}]"
        return b"\n".join(lines)
    at = draw.choice(objects)
    value = json.loads(lines[at])
    value[draw.choice(sorted(value))] = draw.choice(VALUES)
    lines[at] = json.dumps(value).encode()
    return b"\n".join(lines)


DAMAGES = {
    "wrong types": wrong_types,
    "nothing": lambda content, draw: b"",
    "cut": lambda content, draw: content[: draw.randrange(1, len(content))],
    "NUL": lambda content, draw: content[: len(content) // 2] + bytes(4096) + content[len(content) // 2 :],
    "not UTF-8": lambda content, draw: content.replace(b"e", b"\xff\xfe", 5),
    "deep": lambda content, draw: content + DEEP + b"\n",
    "only deep": lambda content, draw: b'{"event": ' + DEEP + b"\n",
    "a gigantic line": lambda content, draw: content + b'{"event": "note", "message": "' + b"x" * 2**25 + b'"}\n',
    "another value": lambda content, draw: draw.choice([b"[]", b"7", b'"text"', b"null", b"true"]) + b"\n",
    "random bytes": lambda content, draw: draw.randbytes(500),
    "random places": lambda content, draw: bytes(
        draw.randrange(256) if draw.random() < 0.02 else byte for byte in content
    ),
}


def damage(run: Run, name: str, kind: str, seed: int) -> None:
    file = run.folder / name
    if kind == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(DAMAGES[kind](file.read_bytes(), random.Random(f"{name} {kind} {seed}")))


def shown_of(run: Run, capsys) -> tuple[str, str, str]:
    """(the line of the command line's list, the label of the page's list, the view), once all lists have been made."""
    capsys.readouterr()
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    runs = history.list_runs()
    history_view.listed("local", history.EVERY_RUN, None)
    history_view.run_choices(runs)
    history.search("local", history.RunFilter("title"))
    labels = {each.id: history_view.label_of(each) for each in runs}
    view = html.unescape("".join(run_view.render(run)[:2]))  # its status, its curves and notes
    assert len(listed) == len(labels) == len(runs)
    (line,) = [line for line in listed if line.startswith(f"{run.id} ")]
    f"{line}{labels[run.id]}{view}".encode()
    return line, labels[run.id], view


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", [*DAMAGES, "a folder"])
def test_whatever_became_of_a_file_of_a_run_all_are_listed(name, kind, capsys):
    for seed in range(4 if kind in ("wrong types", "random places", "cut") else 1):
        hurt, fine = finished(f"hurt-{seed}"), finished(f"fine-{seed}")
        damage(hurt, name, kind, seed)
        shown_of(hurt, capsys)
        assert " done " in shown_of(fine, capsys)[0]
        assert read_state(hurt, with_curves=False).status == read_state(hurt).status
        assert main(["show", hurt.id]) in (0, 1)
        history.delete(hurt)
        assert hurt.id in [entry.run_id for entry in history.deleted()]


@pytest.mark.parametrize("kind", ["only deep", "another value", "random bytes", "a folder"])
def test_a_run_whose_events_cannot_be_read_is_a_line_that_says_what_to_do(kind, capsys):
    hurt = finished("hurt")
    damage(hurt, "events.jsonl", kind, 0)
    line, label, view = shown_of(hurt, capsys)
    assert "unreadable" in line and "Move that file away" in line
    assert label.startswith("Title of hurt · Cannot be read") and "Move that file away" in view


@pytest.mark.parametrize("kind", ["deep", "NUL", "not UTF-8", "a gigantic line"])
def test_a_damaged_line_of_the_events_is_left_out_and_told(kind, capsys):
    hurt = finished("hurt")
    damage(hurt, "events.jsonl", kind, 0)
    line, label, view = shown_of(hurt, capsys)
    assert " done " in line and "Done" in label and "damaged line" in view and "of its events.jsonl" in view


@pytest.mark.parametrize("kind", [*(kind for kind in DAMAGES if kind not in ("cut", "random places")), "a folder"])
def test_a_run_whose_settings_cannot_be_read_says_so_and_keeps_what_it_learned(kind, capsys):
    hurt = finished("hurt")
    damage(hurt, "config.yaml", kind, 0)
    line, label, view = shown_of(hurt, capsys)
    assert " done " in line and "The settings of 'hurt' cannot be read" in line and "fix its config.yaml" in line
    assert "its settings cannot be read" in label and "The settings of 'hurt' cannot be read" in view


def test_a_setting_of_a_newer_version_is_named(capsys):
    hurt = finished("hurt")
    write_text(hurt.config_file, hurt.config_file.read_text() + "quantum_layers: 3\n")
    line, _, view = shown_of(hurt, capsys)
    assert "quantum_layers" in line and "quantum_layers" in view
    with pytest.raises(UserError, match="quantum_layers"):
        hurt.config()


def test_events_of_a_newer_version_are_read_as_far_as_they_are_known(capsys):
    hurt = finished("hurt")
    EventLog(hurt).write("applause", volume=11, who=[{"a": 1}])
    EventLog(hurt).write("note", message="Hello.", colour="red")
    assert read_state(hurt).status == "done" and read_state(hurt).notes == ["A note.", "Hello."]
    assert " done " in shown_of(hurt, capsys)[0]


@pytest.mark.parametrize("kind", [*DAMAGES, "a folder"])
def test_a_damaged_place_in_the_queue_holds_nobody_up(kind, trainer):
    hurt, fine = queued("hurt", at=1), queued("fine", at=2)
    damage(hurt, "queued.json", kind, 0)
    write_text(runs_folder().parent.parent / "turns.json", '{"local": "yesterday", "other": [1]}')
    started = [advance(), *order()]
    assert fine in started and read_state(hurt).status in ("queued", "stopped", "preparing", "interrupted")
    history.discard(hurt)
    history.discard(fine)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_run_that_may_not_be_read_is_a_line(capsys):
    hurt = finished("hurt")
    hurt.events_file.chmod(0)
    assert "unreadable" in shown_of(hurt, capsys)[0]
    hurt.folder.chmod(0)
    try:
        assert "unreadable" in shown_of(hurt, capsys)[0]
    finally:
        hurt.folder.chmod(0o700)


def test_a_run_whose_last_event_was_cut_off_is_still_finished(capsys):
    hurt = finished("hurt")
    whole = hurt.events_file.read_bytes()
    for cut in range(1, 40):
        hurt.events_file.write_bytes(whole[:-cut])
        assert read_state(hurt).status == read_state(hurt, with_curves=False).status == "done", cut
    assert "Done" in shown_of(hurt, capsys)[1]
