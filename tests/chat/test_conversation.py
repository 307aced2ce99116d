"""A conversation as data: what models see of it, what the browser keeps of it, and what comes from outside is checked."""

import json

import pytest

from chat.conversation import ask, cut, new_conversation, prompt_messages, said, set_models, undo
from chat.records import MAX_CONVERSATIONS, checked, deleted, find, from_json, keep, next_to_go, records_of, to_markdown
from common.errors import UserError


def talked(*texts: str, models=("adapter:a", "bare:")) -> dict:
    """A conversation in which every question was answered by every model with its name and the question."""
    conversation = new_conversation(list(models))
    for text in texts:
        ask(conversation, text)
        for pane in conversation["panes"]:
            pane["messages"][-1]["content"] = f"{pane['model']} says {text}"
    return conversation


def test_each_model_sees_its_own_answers_and_no_turn_that_was_never_answered():
    conversation = talked("one", "two")
    ask(conversation, "three")
    ask(conversation, "stopped at once")
    ask(conversation, "four")
    contents = [message["content"] for message in prompt_messages(conversation, 1, -1)]
    assert contents == ["one", "bare: says one", "two", "bare: says two", "four"], (
        "one that was not answered is not shown"
    )


def test_the_system_prompt_and_the_summary_come_first():
    conversation = talked("one")
    conversation |= {"system": "Be kind.", "summary": "The user is called Ada.", "summarised": 1}
    first = prompt_messages(conversation, 0)[0]
    assert first["role"] == "system" and first["content"].startswith("Be kind.") and "Ada" in first["content"]


def test_undo_gives_the_words_back_and_takes_the_turn_from_every_pane():
    conversation = talked("one", "two")
    assert undo(conversation) == "two" and all(len(pane["messages"]) == 2 for pane in conversation["panes"])
    undo(conversation)
    with pytest.raises(UserError, match="nothing to undo"):
        undo(conversation)


def test_a_summary_of_what_was_cut_is_dropped():
    conversation = talked("one", "two", "three")
    conversation |= {"summary": "all three", "summarised": 3}
    cut(conversation, 2)
    assert conversation["summary"] == "" and len(said(conversation)) == 2


def test_another_model_goes_on_with_what_was_said():
    conversation = talked("one")
    set_models(conversation, ["adapter:b", "bare:", "adapter:c"])
    texts = [pane["messages"][1]["content"] for pane in conversation["panes"]]
    assert texts == ["adapter:a says one", "bare: says one", "adapter:a says one"]
    conversation["panes"][0]["messages"][1]["content"] = "changed"
    assert conversation["panes"][2]["messages"][1]["content"] != "changed", "two panes share their messages"


def test_an_export_comes_back_as_it_was_under_a_new_id():
    conversation = talked("one", "두 번째 🦙")
    (back,) = from_json(json.dumps(conversation))
    assert back["id"] != conversation["id"] and back["panes"] == checked(conversation)["panes"]
    assert [pane["messages"][3]["content"] for pane in back["panes"]][1] == "bare: says 두 번째 🦙"
    assert "**a:** adapter:a says one" in to_markdown(back)
    both = from_json(json.dumps([conversation, talked("two")]))
    assert [one["title"] for one in both] == ["one", "two"]


@pytest.mark.parametrize(
    "change",
    [
        {"panes": []},
        {"panes": [{"model": "a", "messages": [{"role": "assistant", "content": "x"}]}]},
        {
            "panes": [
                {"model": "a", "messages": [{"role": "system", "content": "x"}, {"role": "assistant", "content": ""}]}
            ]
        },
        {"panes": [{"model": "a", "messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": ""}]}]},
        {"panes": "x"},
        {"panes": [{"model": "a", "messages": []}] * 9},
        {"summarised": "x"},
        {"summarised": float("inf")},
    ],
)
def test_a_forged_file_is_refused(change):
    with pytest.raises(UserError):
        from_json(json.dumps({**talked("one"), **change}))


@pytest.mark.parametrize(
    ("more", "messages"), [({"system": "a" * 200_000}, 1), ({"summary": "a" * 200_000}, 1), ({}, 5_000)]
)
def test_a_file_larger_than_a_conversation_is_refused(more, messages):
    exported = talked("one") | more
    exported["panes"][0]["messages"] *= messages
    with pytest.raises(UserError, match="at most"):
        from_json(json.dumps(exported))


def test_no_json_is_refused():
    for text in ("", "[1]", "null", '"x"', "[" * 200_000):
        with pytest.raises(UserError, match="exported here"):
            from_json(text)


def test_the_browser_keeps_the_last_used_within_its_room():
    records = []
    for number in range(MAX_CONVERSATIONS + 5):
        records = keep(records, talked(f"question {number}"))
    stored = living(records)
    assert len(stored) == MAX_CONVERSATIONS and stored[0]["title"] == f"question {MAX_CONVERSATIONS + 4}"
    assert len(records) == MAX_CONVERSATIONS + 5, "another tab would bring back what had to go"
    records = keep(records, talked("x" * 740_000, models=["base:auto"]))
    assert len(living(records)) < MAX_CONVERSATIONS and len(json.dumps(records)) < 2_000_000
    assert keep([], new_conversation(["base:auto"])) == [], "an empty one is kept"


def test_a_person_is_told_which_one_goes_next_before_it_goes():
    records = []
    for number in range(MAX_CONVERSATIONS):
        assert next_to_go(records) is None
        records = keep(records, talked(f"question {number}"))
    assert next_to_go(records)["title"] == "question 0"
    records = keep(records, talked("one more"))
    assert next_to_go(records)["title"] == "question 1" and "question 0" not in [
        one["title"] for one in living(records)
    ]


def test_of_two_states_of_a_conversation_the_later_one_is_kept():
    early, late = talked("one"), talked("one", "two")
    late |= {"id": early["id"], "changed": early["changed"] + 5}
    assert living(keep(keep([], late), early)) == [late] == living(keep(keep([], early), late))
    gone = {**deleted(early), "changed": late["changed"] + 5}
    assert living(keep([gone], late)) == [], "a tab that still holds it brought it back"
    late["changed"] = gone["changed"] + 5
    assert living(keep([gone], late)) == [late], "somebody went on with it after that"


def test_one_in_which_nothing_is_said_any_more_is_gone():
    conversation = talked("one")
    records = keep([], conversation)
    undo(conversation)
    assert living(keep(records, conversation)) == []


def test_what_a_browser_sends_is_checked():
    good = keep([], talked("one"))
    gone = deleted(talked("two"))
    forged = [None, 1, "x", {}, {"id": "a", "panes": []}, {**good[0], "changed": float("nan")}, {"deleted": True}]
    found = records_of([*forged, *good, {**gone, "more": "x" * 100}])
    assert [one["id"] for one in found] == [good[0]["id"], gone["id"]] and found[1] == gone
    assert records_of(None) == records_of({"a": 1}) == []
    late = {**good[0], "changed": 1e12}
    assert records_of([late])[0]["changed"] < 1e11, "a time in the future would win for ever"


def living(records: list[dict]) -> list[dict]:
    return [one for one in records if not one.get("deleted")]


def test_words_are_found_in_titles_and_in_what_was_said():
    stored = [talked("Where do llamas live?"), talked("Add 2 and 3")]
    assert (
        find(stored, "LLAMAS live") == [stored[0]]
        and find(stored, "says add") == [stored[1]]
        and find(stored, "") == stored
    )


def test_a_conversation_that_is_too_long_is_kept_and_not_gone_on_with():
    conversation = new_conversation(["base:auto"])
    for _ in range(5):
        ask(conversation, "x" * 99_000)
    with pytest.raises(UserError, match="more than 400,000"):
        ask(conversation, "x")
    assert records_of([conversation])[0]["panes"][0]["messages"] != []
    conversation["panes"][0]["messages"] *= 2
    assert records_of([conversation]) == [], "the server does not hold this much for anybody"
