"""What the form becomes, and what a visitor may not put into it."""

from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import runs_folder
from data.feedback import keep_row
from runs.config import EXAMPLE, TrainConfig
from runs.resolve import capped
from ui.long_lists import dataset_choices
from ui.named import check_named, uploads_folder
from ui.train.form_values import (
    CHAT,
    HUB,
    PASTE,
    UPLOAD,
    data_key,
    form_config,
    form_values,
    lasting_config,
    loaded_values,
    make_config,
    uploaded_names,
)

UNTOUCHED = form_values(TrainConfig())


@pytest.fixture
def space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")


def made(**changes) -> TrainConfig:
    return make_config("local", {**UNTOUCHED, **changes})


def test_the_untouched_form_is_the_default_config():
    assert made() == TrainConfig() and made().problems() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data_kind": UPLOAD}, "No file was uploaded"),
        ({"data_kind": "/etc/passwd"}, "not a kind of data"),
        ({"data_kind": PASTE, "data_paste": "  "}, "Nothing was pasted"),
        ({"data_kind": CHAT, "data_chat": ""}, "None of your datasets"),
        ({"data_kind": CHAT, "data_chat": "other"}, "no dataset"),
        ({"learning_rate": None}, "^Learning rate: It is empty"),
    ],
)
def test_what_is_missing_or_unknown_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        made(**changes)


def test_what_may_be_empty_may_be_empty():
    config = made(init_adapter="", base_revision="", columns="", data_config=None)
    assert config.init_adapter is None and config.base_revision is None and config.columns == ""


@pytest.mark.parametrize("base", ["/etc", "../..", "~", "./model", "folder"])
def test_a_visitor_of_a_space_cannot_name_a_folder_of_the_server(space, base):
    with pytest.raises(UserError, match="not a model ID"):
        made(base=base)
    assert made(base="owner/name").base == "owner/name"


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.jsonl", "runs/config.py", "a/b/c", "~/x"])
def test_a_visitor_of_a_space_cannot_name_a_file_of_the_server(space, name):
    for changes in ({"data_kind": HUB, "data_hub": name}, {"text_hub": name}):
        with pytest.raises(UserError, match="not the ID of a dataset"):
            made(**changes)


def test_a_visitor_may_name_files_of_their_own_runs_only(space):
    mine, theirs = (runs_folder(owner) / "run" / "data.jsonl" for owner in ("user-alice", "user-bob"))
    for file in (mine, theirs):
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    (mine.parent / "link.jsonl").symlink_to(theirs)
    values = {**UNTOUCHED, "data_kind": HUB}
    assert make_config("user-alice", {**values, "data_hub": str(mine)}).data == str(mine)
    around = f"{runs_folder('user-alice')}/run/../../user-bob/run/data.jsonl"
    for name in (str(theirs), around, str(mine.parent / "link.jsonl")):
        with pytest.raises(UserError):
            make_config("user-alice", {**values, "data_hub": name})


FILES = ["/tmp/1/a.jsonl", "/tmp/2/b.csv"]


@pytest.mark.parametrize(
    ("files", "line", "data"),
    [
        (FILES[:1], "", "/tmp/1/a.jsonl"),
        (FILES, "", "/tmp/1/a.jsonl, /tmp/2/b.csv"),
        (FILES, "b.csv:0.7, a.jsonl:0.3", "/tmp/2/b.csv:0.7, /tmp/1/a.jsonl:0.3"),
        (FILES[:1], "a.jsonl:1, o/n@v1:1", "/tmp/1/a.jsonl:1, o/n@v1:1"),
        (["/tmp/1/a.csv", "/tmp/2/a.csv"], "a.csv:1, a.csv:2", "/tmp/1/a.csv:1, /tmp/2/a.csv:2"),
    ],
)
def test_several_files_are_one_line_with_their_shares(files, line, data):
    config = made(data_kind=UPLOAD, data_file=files, data_mix=line)
    assert config.data == data and config.problems() == []


def test_the_names_of_several_files_are_filled_in_and_none_is_left_out_in_silence():
    assert uploaded_names(FILES) == "a.jsonl, b.csv" and uploaded_names(FILES[:1]) == uploaded_names(None) == ""
    with pytest.raises(UserError, match=r"'b\.csv' was uploaded, but its share is not given"):
        made(data_kind=UPLOAD, data_file=FILES, data_mix="a.jsonl:1, o/n:1")
    for files in ([1], [["a"]]):
        with pytest.raises(UserError, match="data_file"):
            made(data_kind=UPLOAD, data_file=files)
    with pytest.raises(UserError, match=r"^data_mix is not text\."):
        made(data_kind=UPLOAD, data_file=FILES, data_mix=[1])


def test_a_mix_of_a_visitor_names_no_file_of_the_server(space):
    for values in (
        {"data_kind": HUB, "data_hub": "o/n:1, /etc/passwd.csv:1"},
        {"data_kind": UPLOAD, "data_file": FILES, "data_mix": "a.jsonl, b.csv, /etc/passwd.csv"},
    ):
        with pytest.raises(UserError, match="not the ID of a dataset"):
            made(**values)
    assert made(data_kind=HUB, data_hub="o/n:1, o/m@v1:2").data == "o/n:1, o/m@v1:2"


def test_a_loaded_mix_says_which_of_its_files_are_gone(tmp_path):
    (tmp_path / "a.jsonl").touch()
    data = f"{tmp_path}/a.jsonl:0.5, example:0.2, o/n:0.3"
    values, gone = loaded_values("local", TrainConfig(data=data))
    assert gone == [] and values["data_hub"] == data
    values, gone = loaded_values("local", TrainConfig(data=f"{data}, {tmp_path}/b.jsonl:1"))
    assert gone == ["b.jsonl"] and values["data_kind"] == UPLOAD


def test_answers_that_were_kept_in_the_chat_are_data():
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}]
    kept = keep_row("from-chat", said, "liked", "key", "user-alice")
    values = {**UNTOUCHED, "data_kind": CHAT, "data_chat": "from-chat"}
    assert make_config("user-alice", values).data == str(kept.path)
    with pytest.raises(UserError, match="no dataset"):
        make_config("user-bob", values)
    keep_row("from-chat", said, "disliked", "other", "user-alice")
    assert [str(label) for label, _name in dataset_choices("user-alice")] == ["from-chat (1 good, 1 bad)"]
    assert dataset_choices("user-bob") == []


def test_pasted_rows_become_a_file_named_after_their_content():
    texts = ('{"prompt": "a", "completion": "b"}', '{"prompt": "a", "completion": "b"}', '{"prompt": "c"}')
    first, again, other = (made(data_kind=PASTE, data_paste=text).data for text in texts)
    assert first == again != other and first.endswith(".jsonl")
    assert made(data_kind=PASTE, data_paste="half \ud83d a character").data, "half of a character is no crash"


def test_a_config_survives_the_way_through_the_form(tmp_path):
    file = str(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text("{}")
    own = TrainConfig(data=file, text_data=file, eval_data=file, columns='{"text": "body"}', use_dora=True, max_steps=3)
    hub = TrainConfig(data="owner/name", data_config="en", init_adapter="mine", sample_prompts="a\nb")
    for config in (TrainConfig(), own, hub):
        assert make_config("local", {**UNTOUCHED, **form_values(config)}) == config


def test_the_check_is_asked_again_when_data_or_what_it_depends_on_changes(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")
    config = TrainConfig(data=str(file))
    key = data_key(config)
    assert data_key(TrainConfig(data=str(file), learning_rate=1e-5)) == key
    assert data_key(TrainConfig(data=str(file), max_length=77)) != key
    file.write_text('{"prompt": "new"}')
    assert data_key(config) != key
    assert data_key(TrainConfig(data=EXAMPLE)) != key


@pytest.mark.parametrize("value", ["\x00", "1e999", "nan", -1, 10**400, [], [1], {"a": 1}, "x" * 100_000, True, b"x"])
def test_whatever_comes_into_a_field_is_a_config_or_a_sentence(value):
    for name in (*UNTOUCHED, "data_file", "data_hub", "text_hub", "eval_hub"):
        try:
            made(**{"data_kind": HUB, "data_hub": "owner/name", name: value}).problems()
        except UserError:
            continue


def test_a_config_that_was_saved_after_an_upload_is_loaded_without_its_files(space, monkeypatch):
    values, gone = loaded_values("user-alice", TrainConfig(data="/tmp/gradio/abc/rows.jsonl", learning_rate=1e-4))
    assert gone == ["rows.jsonl"] and values["data_kind"] == UPLOAD and values["learning_rate"] == 1e-4
    assert "/tmp" not in str(values)
    values, gone = loaded_values("user-alice", TrainConfig(data="owner/name"))
    assert gone == [] and values["data_hub"] == "owner/name"
    monkeypatch.delenv("SPACE_ID")
    values, gone = loaded_values("local", TrainConfig(accelerate_config="/home/me/mine.yaml", num_processes=2))
    assert gone == ["mine.yaml"] and values["accelerate_config"] is None and values["num_processes"] == 2


def test_what_is_pasted_in_two_places_at_once_is_one_file():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: made(data_kind=PASTE, data_paste="{}").data, range(40)))
    assert len(set(files)) == 1
    for number in range(9):
        made(data_kind=PASTE, data_paste=f"text {number}")
    assert len(list(uploads_folder("local").iterdir())) <= 6, "every version is kept"


def test_an_upload_that_a_yaml_is_to_name_is_copied_among_the_owners_own_files(space, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    upload = tmp_path / "a1b2" / "mine.jsonl"
    upload.parent.mkdir()
    upload.write_text('{"text": "mine"}')
    values = {**UNTOUCHED, "data_kind": UPLOAD, "data_file": [str(upload)]}
    kept = lasting_config(tuple(values), "user-alice", tuple(values.values()))
    assert kept.data.startswith(str(uploads_folder("user-alice")))
    assert Path(kept.data).read_text() == '{"text": "mine"}'
    check_named("user-alice", kept)
    for owner, config in (("user-bob", kept), ("user-alice", TrainConfig(data=str(upload)))):
        with pytest.raises(UserError, match="not the ID of a dataset"):
            check_named(owner, config)


def test_the_limits_of_the_machine_and_of_a_space_hold_before_the_start(monkeypatch):
    with pytest.raises(UserError, match="4096 processes do not fit"):
        capped(form_config(tuple(UNTOUCHED), "local", tuple({**UNTOUCHED, "num_processes": 4096}.values())))
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    config = capped(form_config(tuple(UNTOUCHED), "user-alice", tuple(UNTOUCHED.values())))
    assert config.max_minutes == 120 and config.max_rows == 100_000


ELSEWHERE = {"num_machines": 2, "machine_rank": 1, "main_process_ip": "10.0.0.1", "main_process_port": 22}
ELSEWHERE |= {"rendezvous": "c10d", "max_restarts": 5, "ddp_timeout": 86400, "accelerate_config": "/etc/hostname"}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_visitor_of_a_space_cannot_set_machines_addresses_or_files(space, name, monkeypatch):
    changes = {name: ELSEWHERE[name]}
    with pytest.raises(UserError, match="A Space is a single machine"):
        made(**changes)
    monkeypatch.delenv("SPACE_ID")
    assert made(**changes) == TrainConfig(**changes), "on a machine of one's own they are one's own"
