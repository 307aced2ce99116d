"""Labels of a run: a title, notes, tags, a star. Whatever lies in the file, they are short and can be shown."""

import json

import pytest

from common.errors import UserError
from common.files import read_json
from models.base import Base
from runs.labels import (
    MAX_ABOUT_BYTES,
    MAX_NOTES,
    MAX_TAG,
    MAX_TAGS,
    Labels,
    labels_of,
    set_labels,
    split_tags,
    title_of,
)
from runs.publish import publish_adapter
from runs.run import Run, find_run
from tests.queueing import make_run


@pytest.fixture
def run() -> Run:
    return make_run("run")


def test_a_title_changes_no_id_and_no_folder(run):
    assert title_of(run) == "run" and labels_of(run) == Labels() and not run.about_file.exists()
    set_labels(run, "  Korean  dialogues ", "first try\nwith small batches")
    assert title_of(run) == "Korean dialogues" and labels_of(run).notes.startswith("first try")
    assert find_run("run") == run
    set_labels(run, "")
    assert title_of(run) == "run" and labels_of(run).notes, "an empty title goes back to the id, notes stay"


def test_each_label_is_changed_for_itself(run):
    whole = set_labels(run, "Title", "note", ["poems", "Korean"], starred=True)
    assert whole == labels_of(run) == Labels("Title", "note", ("poems", "Korean"), True)
    assert whole.words() == "★ #poems #Korean"
    assert set_labels(run, starred=False) == Labels("Title", "note", ("poems", "Korean"), False) == labels_of(run)
    assert set_labels(run, tags=[]).tags == () and labels_of(run).words() == ""


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        (" , ,#", []),
        ("poems,  Korean  verse ", ["poems", "Korean verse"]),
        ("#poems, Poems, POEMS, x", ["poems", "x"]),
        ("한국어,<b>", ["한국어", "<b>"]),
    ],
)
def test_tags_are_read_from_one_line(text, tags):
    assert split_tags(text) == tags


@pytest.mark.parametrize(
    "labels",
    [
        *({"title": title} for title in ("x" * 121, "a\x00b", "a\x1b[31mb", "\u202eabc", "\ud800")),
        {"notes": "x" * (MAX_NOTES + 1)},
        {"notes": "a\x07"},
        {"tags": ["x" * (MAX_TAG + 1)]},
        {"tags": [str(number) for number in range(MAX_TAGS + 1)]},
        {"tags": ["a\x1b"]},
    ],
)
def test_labels_that_are_too_long_or_cannot_be_shown_are_refused(run, labels):
    set_labels(run, "before")
    with pytest.raises(UserError):
        set_labels(run, **labels)
    assert labels_of(run) == Labels("before")


def test_the_longest_labels_are_read_back(run):
    set_labels(run, "한" * 120, "한" * MAX_NOTES, ["한" * (MAX_TAG - 2) + str(n + 10) for n in range(MAX_TAGS)])
    assert len(labels_of(run).notes) == MAX_NOTES and len(labels_of(run).tags) == MAX_TAGS
    assert run.about_file.stat().st_size < MAX_ABOUT_BYTES


@pytest.mark.parametrize(
    ("about", "labels"),
    [
        ({"title": 5, "notes": ["x"], "tags": "poems", "starred": "yes"}, Labels()),
        (
            {"title": "a\x1b[31m", "notes": "fine", "tags": ["ok", 7, None, ["x"], "a\x00"], "starred": 1},
            Labels("", "fine", ("ok",)),
        ),
        (
            {"title": "x" * 500, "tags": ["y" * 41, "z,z", "Z"] * 50, "starred": True},
            Labels("x" * 120, "", ("z",), True),
        ),
        ({"title": "t", "notes": "x" * MAX_ABOUT_BYTES}, Labels()),
        ([1], Labels()),
    ],
)
def test_what_lies_in_the_file_is_shown_only_where_it_is_a_label(run, about, labels):
    run.about_file.write_text(json.dumps(about))
    assert labels_of(run) == labels
    set_labels(run, starred=True)
    assert read_json(run.about_file)["starred"] is True


class Saved:
    """A model or a tokenizer that is a file of its own."""

    def save_pretrained(self, folder, **_) -> None:
        (folder / "adapter_config.json").write_text("{}")


def test_the_adapter_of_a_run_has_its_title(run):
    set_labels(run, title="공부 코치")
    folder = publish_adapter(Saved(), Saved(), run, Base("cache", "owner/base", None, ""), {})
    assert folder.name == "run" and read_json(folder / "studio.json") == {"title": "공부 코치"}
