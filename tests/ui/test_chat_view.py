"""What is written is what is shown: tags are text, code is code, and an edit gives back what was written."""

import pytest

from chat.conversation import ask, new_conversation
from chat.engine import Seen
from chat.records import checked
from ui.chat.view import (
    MAX_SHOWN_TURNS,
    meter,
    note_of,
    place_of,
    seen_table,
    shown,
    shown_messages,
    shown_rating,
    written,
)

TEXTS = [
    "plain",
    "</s><|assistant|>",
    "<script>alert(1)</script>",
    "a < b & c",
    "&lt;b&gt;",
    "`<b>` and <b>",
    "```\n<x>\n``` <y>",
    "```\n<x> ![x](y)\n```\n<y>\n\n`<a>`",
    "![x](http://there/?q=1) and `![x](y)`",
    "a ` b\n<img src=x> ` c",
    "&#33;[x]",
    "a\n\n\n \nb",
]


@pytest.mark.parametrize("text", TEXTS)
def test_an_edit_gives_back_what_was_written(text):
    pane = {
        "messages": [{"role": "assistant", "content": text, "end": "length"}],
        "left_out": 0,
        "model": "adapter:me",
        "who": "",
    }
    (message,) = shown_messages(pane)
    assert written(message["content"]) == text
    assert written([{"type": "text", "text": message["content"]}]) == text


def test_tags_are_text_and_code_is_left_alone():
    assert shown("<b> `<b>`") == "&lt;b&gt; `<b>`"


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://there/?q=1)",
        "![x][there]\n\n[there]: http://there/",
        "<img src=http://there/x>",
        "\\`<img src=http://there/x>\\`",
        "``<img src=http://there/x>`",
        "a ```\n<img src=http://there/x>",
        "- a\n  ```\n<img src=http://there/x>",
        "a ` b\n c ` <img src=http://there/x> ` d",
        "```a`b\n<img src=http://there/x>",
        "```\nx\n`````\n<img src=http://there/x>",
    ],
)
def test_no_answer_fetches_a_picture(text):
    """Read by the Markdown of CommonMark, as the page does."""
    from markdown_it import MarkdownIt

    assert "<img" in MarkdownIt("commonmark").render(text)
    assert "<img" not in MarkdownIt("commonmark").render(shown(text))


def test_a_line_stands_where_turns_were_left_out_and_places_still_agree():
    messages = [{"role": role, "content": f"{role} {n}"} for n in range(4) for role in ("user", "assistant")]
    pane = {"messages": messages, "left_out": 2, "model": "adapter:me", "who": ""}
    found = shown_messages(pane)
    assert "2 earlier turns left out" in found[4]["metadata"]["title"] and len(found) == 9
    for index, message in enumerate(found):
        if index == 4:
            assert place_of(pane, index) == -1
        else:
            assert messages[place_of(pane, index)]["content"] == message["content"]
    assert len(shown_rating(pane)) == sum(message["role"] == "assistant" for message in found)


def test_a_long_conversation_shows_its_last_turns_and_places_still_agree():
    messages = [{"role": role, "content": f"{role} {n}"} for n in range(200) for role in ("user", "assistant")]
    for left_out in (0, 150, 180):
        pane = {"messages": messages, "left_out": left_out, "model": "adapter:me", "who": ""}
        found = shown_messages(pane)
        assert "Only the last" in found[0]["metadata"]["title"]
        assert len(found) == 1 + 2 * MAX_SHOWN_TURNS + bool(left_out)
        lines = [index for index, message in enumerate(found) if "metadata" in message]
        for index, message in enumerate(found):
            place = place_of(pane, index)
            assert place < 0 if index in lines else messages[place]["content"] == message["content"]
        assert len(shown_rating(pane)) == sum(message["role"] == "assistant" for message in found)


def test_what_the_model_saw_is_escaped_and_special_tokens_are_marked():
    text = seen_table("<n>", [Seen("user", 3, (("<b>x</b>", False), ("</s>", True)))])
    assert "<b>x" not in text and "&lt;b&gt;x" in text and "<mark>&lt;/s&gt;</mark>" in text and "3 tokens" in text


def test_the_meter_says_what_is_used_and_what_is_left_out():
    pane = new_conversation(["adapter:me"])["panes"][0]
    assert meter(pane) == "", "nothing was read yet"
    pane |= {"used": 1024, "window": 2048, "left_out": 3, "template": "t1", "read_as": "t1"}
    text = meter(pane)
    assert "1,024 of 2,048" in text and "width:50%" in text and "3 earlier turns" in text
    assert "template" not in text
    assert "began with another chat template (t1); now it is t2" in meter({**pane, "read_as": "t2"})


def test_the_line_under_an_answer_is_made_of_its_figures():
    conversation = new_conversation(["adapter:m"])
    ask(conversation, "Hi")
    answer = conversation["panes"][0]["messages"][-1]
    answer |= {"end": "length", "by": "m"}
    answer["took"] = {"tokens": 9, "tokens_per_second": 3.21, "seconds_to_first": 0.5, "seed": 4, "temperature": 0.7}
    line = "Reached the length limit. Press Continue. · 3.2 tokens/s, the first after 0.5 s · seed 4, temperature 0.7"
    assert note_of(checked(conversation)["panes"][0]["messages"][-1], "m") == line
    answer["took"]["tokens_per_second"] = float("inf")
    with pytest.raises(ValueError, match="is no number"):
        checked(conversation)


def test_an_answer_that_another_model_wrote_says_whose_it_is():
    """After a rename or a delete, too: the name stays with the message."""
    pane = {"who": "b", "left_out": 0, "messages": [{"role": "assistant", "content": "x", "by": "<a>"}]}
    assert "by &lt;a&gt;" in shown_messages(pane)[0]["content"]
    assert "by" not in shown_messages({**pane, "who": "<a>"})[0]["content"]
