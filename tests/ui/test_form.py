"""What the form becomes, and what a visitor may not put into it."""

import pytest

from chat.feedback import keep_row
from common.errors import UserError
from common.paths import home, runs_folder
from trainer.config import EXAMPLE, TrainConfig
from ui.form import (
    CHAT,
    HUB,
    PASTE,
    UPLOAD,
    data_key,
    form_config,
    form_values,
    loaded_values,
    make_config,
    uploads_folder,
)

UNTOUCHED = form_values(TrainConfig())


@pytest.fixture
def space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")


def made(**changes) -> TrainConfig:
    return make_config("local", {**UNTOUCHED, **changes})


def test_the_untouched_form_is_the_default_config():
    assert made() == TrainConfig() and made().problems() == []


def test_an_own_file_must_be_there():
    with pytest.raises(UserError, match="No file was uploaded"):
        made(data_kind=UPLOAD)


def test_an_unknown_kind_of_data_is_refused():
    with pytest.raises(UserError, match="no way to give data"):
        made(data_kind="/etc/passwd")


def test_an_emptied_number_is_named():
    with pytest.raises(UserError, match="learning_rate is empty"):
        made(learning_rate=None)


def test_what_may_be_empty_may_be_empty():
    config = made(init_adapter="", base_revision="", columns="", data_config=None)
    assert config.init_adapter is None and config.base_revision is None and config.columns == ""


@pytest.mark.parametrize("base", ["/etc", "../..", "~", "./model", "folder"])
def test_a_visitor_of_a_space_cannot_name_a_folder_of_the_server(space, base):
    with pytest.raises(UserError, match="not a model id"):
        made(base=base)
    assert made(base="owner/name").base == "owner/name"


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.jsonl", "trainer/config.py", "a/b/c", "~/x"])
def test_a_visitor_of_a_space_cannot_name_a_file_of_the_server(space, name):
    for changes in ({"data_kind": HUB, "data_hub": name}, {"text_hub": name}):
        with pytest.raises(UserError, match="not the id of a data set"):
            made(**changes)


def test_a_visitor_may_name_files_of_their_own_runs_only(space):
    for owner in ("user-alice", "user-bob"):
        folder = runs_folder(owner) / "run" / "data"
        folder.mkdir(parents=True)
        (folder / "data.jsonl").write_text("{}")
    mine, theirs = (str(runs_folder(owner) / "run" / "data" / "data.jsonl") for owner in ("user-alice", "user-bob"))
    values = {**UNTOUCHED, "data_kind": HUB}
    assert make_config("user-alice", {**values, "data_hub": mine}).data == mine
    for name in (theirs, f"{runs_folder('user-alice')}/run/../../user-bob/run/data/data.jsonl"):
        with pytest.raises(UserError):
            make_config("user-alice", {**values, "data_hub": name})


def test_a_link_in_an_own_run_leads_nowhere_else(space):
    (runs_folder("user-alice") / "run").mkdir(parents=True)
    secret = home() / "secret.jsonl"
    secret.write_text("{}")
    link = runs_folder("user-alice") / "run" / "link.jsonl"
    link.symlink_to(secret)
    with pytest.raises(UserError):
        make_config("user-alice", {**UNTOUCHED, "data_kind": HUB, "data_hub": str(link)})


def test_answers_that_were_kept_in_the_chat_are_data():
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}]
    kept = keep_row("from-chat", said, "liked", "key", "user-alice")
    values = {**UNTOUCHED, "data_kind": CHAT, "data_chat": "from-chat"}
    assert make_config("user-alice", values).data == str(kept.path)
    for changes in ({"data_chat": ""}, {"data_chat": "other"}):
        with pytest.raises(UserError):
            make_config("user-alice", {**values, **changes})
    with pytest.raises(UserError, match="no data set"):
        make_config("user-bob", values)


def test_pasted_rows_become_a_file_named_after_their_content():
    first = made(data_kind=PASTE, data_paste='{"prompt": "a", "completion": "b"}').data
    again = made(data_kind=PASTE, data_paste='{"prompt": "a", "completion": "b"}').data
    other = made(data_kind=PASTE, data_paste='{"prompt": "a", "completion": "c"}').data
    assert first == again != other and first.endswith(".jsonl")
    with pytest.raises(UserError, match="Nothing was pasted"):
        made(data_kind=PASTE, data_paste="  ")


def test_a_pasted_half_of_a_character_is_no_crash():
    assert made(data_kind=PASTE, data_paste="half \ud83d a character").data


def test_a_config_survives_the_way_through_the_form(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")
    for config in (
        TrainConfig(),
        TrainConfig(
            data=str(file),
            text_data=str(file),
            eval_data=str(file),
            columns='{"text": "body"}',
            use_dora=True,
            max_steps=3,
        ),
        TrainConfig(data="owner/name", data_config="en", init_adapter="mine", sample_prompts="a\nb"),
    ):
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


def test_a_config_that_was_saved_after_an_upload_is_loaded_without_its_file(space):
    values, gone = loaded_values("user-alice", TrainConfig(data="/tmp/gradio/abc/rows.jsonl", learning_rate=1e-4))
    assert gone == ["rows.jsonl"] and values["data_kind"] == UPLOAD and values["learning_rate"] == 1e-4
    assert "/tmp" not in str(values)
    values, gone = loaded_values("user-alice", TrainConfig(data="owner/name"))
    assert gone == [] and values["data_hub"] == "owner/name"


def test_what_is_pasted_in_two_places_at_once_is_one_file():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: made(data_kind=PASTE, data_paste="{}").data, range(40)))
    assert len(set(files)) == 1
    for number in range(9):
        made(data_kind=PASTE, data_paste=f"text {number}")
    assert len(list(uploads_folder("local").iterdir())) <= 6, "every version is kept"


def test_more_processes_than_the_machine_has_are_refused():
    with pytest.raises(UserError, match="num_processes: 4096"):
        form_config(tuple(UNTOUCHED), "local", tuple({**UNTOUCHED, "num_processes": 4096}.values()))


def test_a_visitor_sees_the_limits_of_the_space_in_the_plan(space):
    config = form_config(tuple(UNTOUCHED), "user-alice", tuple(UNTOUCHED.values()))
    assert config.max_minutes == 120 and config.max_rows == 100_000


@pytest.mark.parametrize(
    "changes",
    [
        {"num_machines": 2},
        {"machine_rank": 1},
        {"main_process_ip": "10.0.0.1"},
        {"main_process_port": 22},
        {"rendezvous": "c10d"},
        {"max_restarts": 5},
        {"ddp_timeout": 86400},
        {"accelerate_config": "/etc/hostname"},
    ],
)
def test_a_visitor_of_a_space_cannot_set_machines_addresses_or_files(space, changes, monkeypatch):
    with pytest.raises(UserError, match=f"{next(iter(changes))}: not on a Space"):
        made(**changes)
    monkeypatch.delenv("SPACE_ID")
    assert made(**changes) == TrainConfig(**changes), "on a machine of one's own they are one's own"


def test_a_loaded_config_says_that_its_accelerate_config_must_be_given_again():
    values, gone = loaded_values("local", TrainConfig(accelerate_config="/home/me/mine.yaml", num_processes=2))
    assert gone == ["mine.yaml"] and values["accelerate_config"] is None and values["num_processes"] == 2
