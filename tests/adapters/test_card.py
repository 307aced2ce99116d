"""The card is what the Hub needs to show an adapter of its base, and nothing leaves the machine that should not."""

import json
import os
import re
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from adapters.card import CardFacts, write_card
from adapters.history import read_history
from adapters.library import find_adapter, update_record
from adapters.package import PushOptions, write_package
from adapters.push import push_adapter
from adapters.trust.scan import scan
from common.errors import UserError
from common.files import read_object, write_json
from common.paths import REPOSITORY, home
from models.hub.client import account_of
from tests.adapters.making import put, write_history


def card_of(made, name="mine", **facts) -> str:
    write_history(put(name, made))
    adapter = find_adapter(name)
    return write_card(adapter, read_history(adapter), CardFacts("alice/mine", "apache-2.0", **facts))


def front_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_front_matter_is_that_of_an_adapter(made):
    front = front_of(card_of(made))
    assert front == {
        "library_name": "peft",
        "base_model": "tests/tiny-base",
        "base_model_relation": "adapter",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "tags": [
            *("base_model:adapter:tests/tiny-base", "lora", "sft", "trl", "transformers", "peft", "tinyllama-studio")
        ],
        "model-index": [
            {
                "name": "mine",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "held-out split", "type": "private", "split": "validation"},
                        "metrics": [
                            {"type": "perplexity", "value": 3.4903, "name": "Eval perplexity", "args": {"n": 23}},
                            {"type": "loss", "value": 1.25, "name": "Eval loss", "args": {"n": 23}},
                        ],
                    }
                ],
            }
        ],
    }


def test_the_card_says_which_rows_a_model_wrote_and_tags_it_as_the_hub_does(made, tmp_path):
    folder, to = put("mine", made), tmp_path / "to"
    by = {"teacher": "Qwen/Q <b>", "recipe": "question-answer", "version": "1", "licence": "", "rows": 200, "edited": 3}
    write_json(folder / "metrics.json", read_object(folder / "metrics.json") | {"made": [by, {"teacher": 7}]})
    to.mkdir()
    write_package(find_adapter("mine"), "alice/mine", PushOptions(), to)
    card = (to / "README.md").read_text()
    assert "synthetic" in front_of(card)["tags"]
    told = "- 200 by Qwen/Q &lt;b&gt; by the recipe question-answer 1, 3 of them changed by a person; licence of its output, as "
    assert f"{told}stated by who asked it: not stated" in card
    assert read_object(to / "metrics.json")["made"][0] == by, "who pulls it knows it, too"
    assert find_adapter("mine").data() == "a file, 220 rows, 200 made by Qwen/Q <b>"


def test_a_language_is_on_the_card_only_when_it_is_known(made, tmp_path):
    folder = put("mine", made)
    for config, wish, shown in (
        ("data: data/data.jsonl\n", PushOptions(), None),
        ("data: example\n", PushOptions(), ["en"]),
        ("data: data/data.jsonl\n", PushOptions(language="de"), ["de"]),
    ):
        (folder / "training_config.yaml").write_text(config)
        to = tmp_path / str(shown)
        to.mkdir()
        write_package(find_adapter("mine"), "alice/mine", wish, to)
        assert front_of((to / "README.md").read_text()).get("language") == shown


class FakeHub:
    """Two public data sets, one of them with a licence, and a private one."""

    def __init__(self, token: bool) -> None:
        self.token = token

    def dataset_info(self, name: str, timeout: int) -> SimpleNamespace:
        if name == "o/gone":
            raise OSError("not there")
        card = {"license": ["cc-by-4.0", "mit"]} if name == "o/a" else None
        return SimpleNamespace(private=name == "o/mine", card_data=card)


@pytest.mark.parametrize(
    ("data", "datasets", "words"),
    [
        ("o/a", ["o/a"], "fine-tuned on [o/a](https://huggingface.co/datasets/o/a) (cc-by-4.0, mit) (220 rows"),
        (
            "o/a@v1:2, data/data-2.jsonl:1, o/b:1",
            ["o/a", "o/b"],
            "fine-tuned on 50% [o/a](https://huggingface.co/datasets/o/a) (cc-by-4.0, mit), 25% data of its owner, "
            "25% [o/b](https://huggingface.co/datasets/o/b) (220 rows",
        ),
        (
            "o/mine, o/gone, example",
            None,
            "fine-tuned on data of its owner, data of its owner, the study coach example",
        ),
    ],
)
def test_public_data_sets_are_named_with_share_and_licence(made, tmp_path, monkeypatch, data, datasets, words):
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    (put("mine", made) / "training_config.yaml").write_text(f"data: {data}\n")
    adapter = find_adapter("mine")
    write_package(adapter, "alice/mine", PushOptions(), tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert front_of(card).get("datasets") == datasets and words in card
    assert "data-2.jsonl" not in card + adapter.data() and "o/gone" not in card


def test_the_snippet_takes_the_tokenizer_from_where_it_is(made):
    assert 'AutoTokenizer.from_pretrained("alice/mine")' in card_of(made)
    for file in (find_adapter("mine").folder).glob("tokenizer*"):
        file.unlink()
    adapter = find_adapter("mine")
    card = write_card(adapter, read_history(adapter), CardFacts("alice/mine", "apache-2.0"))
    assert 'AutoTokenizer.from_pretrained("tests/tiny-base")' in card


def test_the_hub_client_reads_the_card_and_its_results(made):
    from huggingface_hub import ModelCard

    data = ModelCard(card_of(made)).data
    assert (data.library_name, data.base_model, data.eval_results[0].metric_value) == (
        "peft",
        "tests/tiny-base",
        3.4903,
    )


def test_the_body_tells_counts_settings_losses_answers_and_limits(made):
    card = card_of(made, with_picture=True, with_answers=True)
    for words in (
        "220 rows",
        "1,000 trained tokens",
        "| base, before | 2.5000",
        "| with this adapter | 1.2500",
        "loss.png",
    ):
        assert words in card
    for words in (
        "| learning\\_rate | 0.0005 |",
        "CPU &lt;b&gt;",
        "peft 0.21.2",
        "## Limitations",
        "Made with TinyLlama Studio",
    ):
        assert words in card
    assert "````text\n``` after\n````" in card and "```text\nbefore <script>\n```" in card
    assert "secret words" not in card and "data.jsonl" not in card


def test_markup_in_an_answer_or_a_fact_stays_text(made):
    write_history(put("mine", made))
    adapter = find_adapter("mine")
    adapter.metrics["hardware"] = "<img src=x onerror=alert(1)> | [x](javascript:1)"
    history = read_history(adapter)
    history.answers_after = [{"prompt": "```\n<script>alert(1)</script>", "answer": "````\n# heading"}]
    card = write_card(adapter, history, CardFacts("alice/mine", "apache-2.0", with_answers=True))
    assert "<img" not in card and "\\| \\[x\\]" in card
    outside, fence = [], ""
    for line in card.splitlines():
        opened = re.match(r"(`{3,})", line)
        if opened and not fence:
            fence = opened[1]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence and not any("<script>" in line or "# heading" in line for line in outside)


def test_answers_can_be_left_out(made):
    assert "Before and after" not in card_of(made, with_answers=False)


@pytest.mark.parametrize(
    ("config", "wish", "shown"),
    [
        ("data: data/data.jsonl\n", PushOptions(), False),
        ("data: data/data.jsonl\nsample_prompts: '  '\n", PushOptions(), False),
        ("data: example\neval_data: data/eval_data.jsonl\n", PushOptions(), False),
        ("", PushOptions(), False),
        ("data: data/data.jsonl\nsample_prompts: Hi\n", PushOptions(), True),
        ("data: example\n", PushOptions(), True),
        ("data: data/data.jsonl\n", PushOptions(with_rows=True), True),
        ("data: data/data.jsonl\n", PushOptions(with_rows=True, with_answers=False), False),
    ],
)
def test_the_words_of_a_held_out_row_reach_the_card_only_when_its_owner_asks(made, tmp_path, config, wish, shown):

    folder = put("mine", made)
    (folder / "training_config.yaml").write_text(config)
    write_history(folder)
    row = {"prompt": "my secret diary", "answer": "dear diary"}
    write_json(folder / "metrics.json", {**read_object(folder / "metrics.json"), "samples_after": [row]})
    write_package(find_adapter("mine"), "alice/mine", wish, tmp_path)
    assert ("diary" in (tmp_path / "README.md").read_text()) == shown


def test_what_is_sent_is_what_the_scan_let_through(made, tmp_path):
    put("mine", made)
    (find_adapter("mine").folder / "training_args.bin").write_bytes(b"\x80\x02")
    update_record(find_adapter("mine").folder, notes="private words")
    names = write_package(find_adapter("mine"), "alice/mine", PushOptions(), tmp_path)
    assert "training_args.bin" not in names and "studio.json" not in names
    sent = b"".join((tmp_path / name).read_bytes() for name in names)
    for words in (b"private words", b"secret words", b"data.jsonl", str(home()).encode()):
        assert words not in sent


def weights_with(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + b"numbers"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metrics.json", b'{"a": "/home/alice/secret"}', "a path of a machine"),
        ("README.md", b"hf_abcdefghijklmnopqrstuvwxyzABCD", "a Hugging Face token"),
        ("README.md", b"my-own-token-1234", "your Hugging Face token"),
        ("tokenizer_config.json", b"\x80\x04abc", "a pickle"),
        ("training_args.bin", b"x", "is not a file of an adapter"),
        ("checkpoint-1/optimizer.pt", b"x", "is not a file of an adapter"),
        (".env", b"x", "is not a file of an adapter"),
        (
            "adapter_model.safetensors",
            weights_with(b'{"__metadata__":{"path":"C:\\\\Users\\\\al"}}'),
            "a path of a machine",
        ),
        (
            "adapter_model.safetensors",
            weights_with(
                b'{"a":"' + b" " * 1_900_000 + b'","__metadata__":{"by":"hf_abcdefghijklmnopqrstuvwxyzABCD"}}'
            ),
            "a Hugging Face token",
        ),
        (
            "adapter_model.safetensors",
            weights_with(b'{"a":"' + b" " * 2_000_000 + b'"}'),
            "longer than that of any adapter",
        ),
    ],
)
def test_the_scan_stops_what_must_not_leave(tmp_path, name, content, words):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        scan(tmp_path, "my-own-token-1234")


def test_an_adapter_of_a_folder_is_not_pushed(made, tmp_path):
    folder = put("mine", made)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/models/x"}))
    with pytest.raises(UserError, match="a folder on this machine"):
        write_package(find_adapter("mine"), "alice/mine", PushOptions(), tmp_path)


@pytest.mark.slow
def test_the_snippet_on_the_card_runs_and_transformers_loads_the_adapter_by_its_id(hub, made):
    put("mine", made)
    push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions(private=False))
    snippet = re.search(
        r"```python\n(.*?)```", hub.repositories["alice/mine"].content("README.md").decode(), re.DOTALL
    )[1]
    more = 'whole = AutoModelForCausalLM.from_pretrained("alice/mine")\nassert whole._hf_peft_config_loaded\n'
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", snippet + more]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and result.stdout.strip(), result.stderr[-2000:]


def test_the_picture_shows_both_curves_and_is_the_same_each_time(made):
    import io

    from PIL import Image

    from adapters.curves import COLOURS, draw_losses

    write_history(put("mine", made))
    history = read_history(find_adapter("mine"))
    assert len(history.losses) == 10 and history.eval_losses == [(0, 2.5), (10, 1.25)]
    picture = draw_losses(history.losses, history.eval_losses)
    assert picture == draw_losses(history.losses, history.eval_losses) and len(picture) < 100_000
    colours = {colour for _, colour in Image.open(io.BytesIO(picture)).getcolors(1_000_000)}
    assert set(COLOURS.values()) <= colours
    assert draw_losses([], []) is None and draw_losses([(1, float("nan")), (2, 1.0)], []) is None


def test_a_step_that_was_kept_before_the_last_is_told_and_marked(made):
    from adapters.curves import draw_losses

    adapter = put("mine", made)
    write_history(adapter)
    values = {"step": 10, "kept_step": 6, "loss_after": 1.25, "loss_last": 1.5}
    write_json(adapter / "metrics.json", {**read_object(adapter / "metrics.json"), **values})
    history = read_history(find_adapter("mine"))
    card = write_card(find_adapter("mine"), history, CardFacts("alice/mine", "mit"))
    assert "Step 6 is kept, where the held-out loss was lowest: 1.2500; the last step, 10, had 1.5000." in card
    assert "| optimiser steps | 6 of 10 (lowest held-out loss) |" in card
    plain = draw_losses(history.losses, history.eval_losses)
    assert history.kept_step == 6 and draw_losses(history.losses, history.eval_losses, 6) != plain


def test_long_answers_are_broken_into_lines_that_a_page_can_show():
    from adapters.card import COLUMNS, fenced

    shown = fenced("word " * 100 + "\n\n- a point\n" + "x" * 300)
    assert max(map(len, shown.splitlines())) <= COLUMNS and "\n\n- a point\n" in shown
    assert shown.replace("\n", "").count("x" * 10) >= 29


def test_every_whole_step_has_its_number_once_under_a_short_curve(made, monkeypatch):
    from PIL import ImageDraw

    from adapters.curves import draw_losses

    written, real = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, words, **how: written.append(words) or real(self, place, words, **how),
    )
    draw_losses([(step, 2.0 - step / 10) for step in range(1, 7)], [])
    assert [words for words in written if words.isdigit()] == ["0", "1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(("wish", "is_there"), [(PushOptions(), True), (PushOptions(with_answers=False), False)])
def test_the_picture_of_the_result_holds_an_answer_only_when_the_card_does(made, tmp_path, monkeypatch, wish, is_there):
    from PIL import ImageDraw

    written, real = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, words, **how: written.append(words) or real(self, place, words, **how),
    )
    write_history(put("mine", made))
    write_package(find_adapter("mine"), "alice/my-coach", wish, tmp_path)
    assert {"my-coach", "tiny-base with LoRA", "Held-out loss fell by 50%", "220 examples · 60 s of training"} <= {
        *written
    }
    assert ("before <script>" in written) is ("before <script>" in (tmp_path / "README.md").read_text()) is is_there


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (2.5, 2.0, "Held-out loss fell by 20%"),
        (2.0, 2.5, "Held-out loss rose by 25%"),
        (2.0, 1.999, "Held-out loss stayed at 2.00"),
        (None, 2.0, None),
        (0.0, 2.0, None),
    ],
)
def test_how_the_held_out_loss_changed_is_told_as_it_is(before, after, words):
    from adapters.result_picture import loss_words

    assert loss_words(before, after) == words


def test_what_the_font_cannot_show_is_left_out_and_that_is_said(monkeypatch):
    from PIL import ImageDraw

    from adapters import fonts
    from adapters.result_picture import Result, Sample, draw_result

    monkeypatch.setattr(fonts, "WITH_HANGUL", ())
    monkeypatch.setattr(fonts, "OTHERS", ())
    fonts.font.cache_clear()
    written, real = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, words, **how: written.append(words) or real(self, place, words, **how),
    )
    sample = Sample("공부", "a", "b")
    assert draw_result(Result("공부 코치", "base", losses=[(1, 2.0), (2, 1.0)], sample=sample))
    fonts.font.cache_clear()
    assert not any("공" in words for words in written) and any("are left out" in words for words in written)
