"""Decisions on made rows are kept act by act, and can be taken back; accepted rows become a data set that says who made them."""

from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import append_json_line, write_text
from common.paths import making_folder
from data.feedback import keep_row
from data.feedback import read_rows as read_data_set
from data.intake import prepare
from data.published import HubSource, keep_source, source_of
from data.settings import DataSettings
from making.config import MakingConfig
from making.made import MadeSet
from making.review import check_beside, count_findings, decide, keep, read_review, undo
from models.messages import Message
from tests.making.checked_rows import made_row


@pytest.fixture
def made(tmp_path, monkeypatch) -> MadeSet:
    """Four rows, of which the third was refused, and the fourth asks what the first asks."""
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    made = MadeSet(making_folder("alice") / "set")
    made.folder.mkdir(parents=True)
    write_text(made.config_file, MakingConfig(title="Set").to_yaml())
    for key, question, answer in (
        ("a", "What is a whale?", "It is a mammal."),
        ("b", "Where do whales live?", "They live in the sea."),
        ("c", "What do whales eat?", "I'm sorry, I cannot help with that."),
        ("d", "What is a whale?", "A big animal of the sea."),
    ):
        row = made_row(key, question, answer)
        append_json_line(made.rows_file, {**row, "findings": ["refusal"] if key == "c" else []})
    return made


def decisions(made: MadeSet) -> dict[str, str]:
    return {row.key: row.decision for row in read_review(made)}


def other_words(made: MadeSet, key: str, answer: str) -> list[Message]:
    (messages,) = [row.messages for row in read_review(made) if row.key == key]
    return [*messages[:-1], Message(role="assistant", content=answer)]


def test_findings_of_rows_and_of_all_rows_together_are_counted(made):
    assert {row.key: row.findings for row in read_review(made)} == {
        "a": [],
        "b": [],
        "c": ["refusal"],
        "d": ["duplicate"],
    }
    assert count_findings(read_review(made)) == {"refusal": 1, "duplicate": 1}


def test_rows_that_came_since_are_checked_beside_the_others_too(made):
    assert check_beside(made) == {"d": ["duplicate"]}
    append_json_line(made.rows_file, made_row("e", "Where do whales live?", "In the sea."))
    assert {row.key: row.findings for row in read_review(made)}["e"] == ["duplicate"]


def test_the_last_act_is_taken_back_as_a_whole_and_then_the_one_before(made):
    decide(made, ["a"], "accepted")
    decide(made, ["b", "c", "d"], "rejected")
    decide(made, ["b"], "accepted")
    assert decisions(made) == {"a": "accepted", "b": "accepted", "c": "rejected", "d": "rejected"}
    assert undo(made) == ["b"] and decisions(made)["b"] == "rejected"
    assert undo(made) == ["b", "c", "d"]
    assert decisions(made) == {"a": "accepted", "b": "pending", "c": "pending", "d": "pending"}
    decide(made, ["c"], "rejected")
    assert undo(made) == ["c"] and undo(made) == ["a"]
    with pytest.raises(UserError, match="nothing to undo"):
        undo(made)


def test_what_was_changed_is_checked_once_and_not_with_every_step(made, monkeypatch):
    decide(made, ["a"], "accepted", other_words(made, "a", "I'm sorry, I cannot help with that."))
    monkeypatch.setattr("making.review.check_row", lambda *given: pytest.fail("it was checked again"))
    assert read_review(made)[0].findings == ["refusal"]


def test_an_edited_row_keeps_its_words_over_later_decisions_is_checked_again_and_can_be_taken_back(made):
    words = other_words(made, "c", "They eat fish and krill.")
    decide(made, ["c"], "accepted", words)
    decide(made, ["c"], "rejected")
    (row,) = [row for row in read_review(made) if row.key == "c"]
    assert (row.messages, row.decision, row.findings, row.is_edited) == (words, "rejected", [], True)
    undo(made)
    undo(made)
    (row,) = [row for row in read_review(made) if row.key == "c"]
    assert not row.is_edited and row.findings == ["refusal"]


def test_accepted_rows_become_a_data_set_of_which_every_row_says_who_made_it(made, tmp_path):
    decide(made, ["a"], "accepted")
    decide(made, ["c"], "accepted", other_words(made, "c", "They eat fish and krill."))
    decide(made, ["d"], "rejected")
    found = keep(made, "whales", "alice")
    rows = {row["key"]: row for row in read_data_set("whales", "alice")}
    assert {*rows} == {"a", "c"} and rows["c"]["messages"][-1]["content"] == "They eat fish and krill."
    assert rows["a"]["made"] == made_row("a", "", "")["made"] and rows["c"]["made"]["edited"] is True
    prepared = prepare(DataSettings(data=str(found.path), eval_fraction=0.0), tmp_path)
    assert [(one["rows"], one["edited"]) for one in prepared.train.made()] == [(2, 1)]


def test_keeping_again_takes_out_what_was_rejected_since_and_leaves_rows_from_elsewhere(made):
    decide(made, ["a", "b"], "accepted")
    found = keep(made, "whales", "alice")
    append_json_line(found.path, {"messages": [], "key": "mine"})
    decide(made, ["a"], "rejected")
    keep(made, "whales", "alice")
    assert {row["key"] for row in read_data_set("whales", "alice")} == {"b", "mine"}


def test_the_rest_is_what_nobody_looked_at_and_nothing_was_found_in(made):
    decide(made, ["b"], "rejected")
    keep(made, "whales", "alice", accept_rest=True)
    assert [row["key"] for row in read_data_set("whales", "alice")] == ["a"]


def test_without_an_accepted_row_there_is_no_data_set(made):
    with pytest.raises(UserError, match="No row is accepted"):
        keep(made, "whales", "alice")


@pytest.mark.parametrize(
    ("keys", "decision", "messages"),
    [
        (["x"], "accepted", None),
        (["a"], "perhaps", None),
        (["a"], "accepted", [{"role": "user", "content": "only a question"}]),
        (["a"], "accepted", [{"role": "user", "content": "q"}, {"role": "assistant", "content": " "}]),
        (["a"], "accepted", [{"role": "system", "content": "q"}, {"role": "assistant", "content": "a"}]),
        (["a", "b"], "accepted", [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_is_written(made, keys, decision, messages):
    with pytest.raises(UserError):
        decide(made, keys, decision, messages)
    assert not made.decisions_file.exists()


def test_damaged_lines_decide_nothing(made):
    decide(made, ["a"], "accepted")
    acts = [{"keys": "b", "decision": "accepted"}, {"keys": [["b"]], "decision": "accepted"}, {"undo": 1}]
    for act in [*acts, {"keys": ["b"], "decision": 3}]:
        append_json_line(made.decisions_file, act)
    with open(made.decisions_file, "ab") as file:
        file.write(b'null\n{"keys": ["b"')
    assert decisions(made) == {"a": "accepted", "b": "pending", "c": "pending", "d": "pending"}


def test_rows_made_of_a_private_repositorys_rows_are_known_as_from_there(made):
    source = HubSource("bob/private", "c0ffee", is_public=False, by="alice")
    seeds = keep_row("pulled", read_review(made)[0].messages, "liked", "k", "alice")
    keep_source(seeds, source)
    write_text(made.config_file, replace(made.config(), recipe="rewrite", seed_rows=str(seeds.path)).to_yaml())
    decide(made, ["a"], "accepted")
    assert source_of(keep(made, "mine", "alice")) == source
