"""Data sets pushed to and pulled from a Hub on loopback with the real client: what arrives, what does not, what comes back."""

import argparse
import json
import subprocess
import sys
import tracemalloc

import pytest

from adapters.trust.scan import places
from common.errors import UserError
from common.paths import REPOSITORY, datasets_folder, home
from data import hub_jobs, pull
from data.feedback import RowsFile, find_dataset, list_datasets, read_rows
from data.published import source_of
from data.pull import pull_data
from data.push import DataPushOptions, plan_data_push
from models.hub.client import account_of
from models.hub.errors import child_environment
from tests.hub_server import HubServer, point_client_at
from tests.origins import ORIGIN

LIKED = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy!"}], "source": "liked"}
MADE = {**ORIGIN, "teacher": "big-teacher", "version": "2", "licence": "cc-by-4.0 | mine"}


def row(number: int, **more) -> dict:
    """A row of its own prompt, with a key."""
    messages = [{"role": "user", "content": f"한글 {number}?"}, {"role": "assistant", "content": f"Answer {number}."}]
    return {"messages": messages, "source": "liked", "key": f"{number:016x}", **more}


ROWS = [
    *(row(number) for number in range(6)),
    row(6, source="made", made=MADE),
    row(7, source="made", made={**MADE, "edited": True}),
    row(8, source="disliked", label=False),
    row(9, source="picked", rejected=["Worse.", "Worst."]),
]


def by_key(rows: list[dict]) -> dict[str, dict]:
    """The rows, whatever their order."""
    return {one["key"]: one for one in rows}


def put(rows: list[dict], name: str = "mine", owner: str = "local") -> RowsFile:
    """A data set with these rows."""
    datasets_folder(owner).mkdir(parents=True, exist_ok=True)
    path = datasets_folder(owner) / f"{name}.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    return RowsFile(path)


@pytest.fixture
def hub(monkeypatch):
    """A Hub with alice and bob; the client of this process talks to it and to nothing else."""
    with HubServer() as server:
        point_client_at(server, monkeypatch)
        server.alice, server.bob = server.add_user("alice", orgs=("school",)), server.add_user("bob", orgs=("school",))
        yield server


def push(hub, dataset: RowsFile, token: str = "", **wish):
    return plan_data_push(dataset, account_of(token or hub.alice), DataPushOptions(**wish)).push()


def test_what_was_pushed_comes_back_as_it_was_and_private_unless_wished_otherwise(hub):
    pushed = push(hub, put(ROWS))
    assert (pushed.repo_id, pushed.private, pushed.url) == ("alice/mine", True, f"{hub.url}/datasets/alice/mine")
    assert hub.repositories["datasets/alice/mine"].private
    pulled = pull_data("alice/mine", hub.alice, name="back")
    assert read_rows("back") == ROWS and pulled.unread == 0
    assert (pulled.source.revision, pulled.source.by) == (pushed.revision, "alice")
    assert "'back' with 10 rows" in pulled.sentence()


def test_the_card_and_the_fingerprint_say_what_is_in_it_and_where_it_is_from(hub):
    import yaml

    push(hub, put(ROWS), license="cc-by-4.0", language="ko", test_share=0.3)
    files = hub.repositories["datasets/alice/mine"].files
    assert set(files) == {"README.md", "fingerprint.json", "train.jsonl", "test.jsonl"}
    front, body = files["README.md"].decode().split("---\n", 2)[1:]
    facts = yaml.safe_load(front)
    assert (facts["license"], facts["language"], facts["size_categories"]) == ("cc-by-4.0", ["ko"], ["n<1K"])
    assert "synthetic" in facts["tags"]
    assert "- 2 by big-teacher by the recipe question-answer 2, 1 of them changed by a person" in body
    assert r"cc-by-4.0 \| mine" in body and "- 6: liked" in body
    fingerprint = json.loads(files["fingerprint.json"])
    assert fingerprint["rows"] == {"train": 7, "test": 3} and fingerprint["made"][0]["rows"] == 2
    assert [one["lines"] for one in fingerprint["files"]] == [7, 3]


def test_rows_without_a_teacher_are_not_called_synthetic(hub):
    push(hub, put([LIKED]))
    card = hub.repositories["datasets/alice/mine"].files["README.md"].decode()
    assert "synthetic" not in card and "made" not in card.split("## Columns")[1].split("##")[0]
    assert "Its owner has stated no licence." in card


def test_all_answers_to_one_prompt_are_on_one_side_of_the_split(hub):
    rows = [row(number) for number in range(20)]
    rows += [{**one, "messages": [one["messages"][0], {"role": "assistant", "content": "Again."}]} for one in rows]
    push(hub, put(rows), test_share=0.25)
    files = hub.repositories["datasets/alice/mine"].files
    train, test = (
        [json.loads(line)["messages"][0]["content"] for line in files[f"{split}.jsonl"].splitlines()]
        for split in ("train", "test")
    )
    assert (len(train), len(test)) == (30, 10) and not set(train) & set(test)


def test_both_splits_come_back_each_as_a_data_set(hub):
    push(hub, put(ROWS), test_share=0.3)
    pulled = pull_data("alice/mine", hub.alice, name="back")
    assert [(one.name, one.rows) for one in pulled.sets] == [("back", 7), ("back-test", 3)]
    assert by_key(read_rows("back") + read_rows("back-test")) == by_key(ROWS)


def test_a_second_push_changes_nothing_and_a_row_more_only_what_tells_of_it(hub):
    first, second = push(hub, put(ROWS)), push(hub, put(ROWS))
    assert (second.changed, second.revision) == (False, first.revision)
    plan = plan_data_push(put([*ROWS, row(10)]), account_of(hub.alice), DataPushOptions())
    assert [file.path for file in plan.changes] == ["README.md", "fingerprint.json", "train.jsonl"]
    with pytest.raises(UserError, match="is not as you saw it"):
        plan.check_agreed(None)


def test_a_split_that_is_no_more_is_removed_by_the_same_commit(hub):
    push(hub, put(ROWS), test_share=0.3)
    plan = plan_data_push(put(ROWS), account_of(hub.alice), DataPushOptions())
    assert [(file.path, file.change) for file in plan.files[-2:]] == [
        ("train.jsonl", "changed"),
        ("test.jsonl", "removed"),
    ]
    plan.push()
    assert set(hub.repositories["datasets/alice/mine"].files) == {"README.md", "fingerprint.json", "train.jsonl"}
    assert [one.rows for one in pull_data("alice/mine", hub.alice).sets] == [10] and not push(hub, put(ROWS)).changed


def test_what_is_pulled_again_gets_a_name_of_its_own(hub):
    push(hub, put(ROWS), repo_name=f"a{'b' * 80}", test_share=0.3)
    names = [[one.name for one in pull_data(f"alice/a{'b' * 80}", hub.alice).sets] for _time in range(2)]
    long = f"a{'b' * 49}"
    assert names == [[long, f"{long}-test"], [f"{long}-2", f"{long}-2-test"]]


def test_large_rows_go_by_lfs_and_come_back(hub):
    hub.lfs = r"\.jsonl$"
    push(hub, put(ROWS))
    assert hub.sent("PUT", "/lfs/") and pull_data("alice/mine", hub.alice, name="back").sets[0].rows == len(ROWS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("my key is hf_abcdefghijklmnopqrstuvwx", "Row 2 contains a Hugging Face token"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "Row 2 contains a private key"),
        ("{home}/rows.jsonl", "Row 2 contains a path of this machine"),
        ("{token}", "Row 2 contains your Hugging Face token"),
    ],
)
@pytest.mark.parametrize("where", ["content", "rejected", "document"])
def test_a_secret_in_a_row_keeps_all_of_it_here(hub, words, told, where):
    secret = words.replace("{home}", str(home())).replace("{token}", hub.alice)
    spoilt = {
        "content": row(1, messages=[{"role": "user", "content": secret}, {"role": "assistant", "content": "a"}]),
        "rejected": row(1, rejected=[f"so {secret}"]),
        "document": row(1, made={**MADE, "document": secret[:199]}),
    }[where]
    with pytest.raises(UserError, match=f"{told}.*Nothing was sent") as error:
        push(hub, put([row(0), spoilt]))
    assert secret not in str(error.value) and not hub.repositories and places()


def test_a_push_that_is_wished_private_never_goes_to_a_public_repository(hub):
    push(hub, put(ROWS), private=False)
    with pytest.raises(UserError, match="alice/mine is public: everybody would see the dataset"):
        push(hub, put(ROWS[:3]))


def test_rows_of_a_private_repository_are_not_pushed_as_public_until_that_is(hub):
    push(hub, put(ROWS), repo_name="school/ours")
    pulled = pull_data("school/ours", hub.bob, "bob").sets[0]
    with pytest.raises(UserError, match=r"school/ours, which is not public\. It was downloaded by bob"):
        push(hub, pulled, hub.bob, private=False)
    assert push(hub, pulled, hub.bob, repo_name="copy").private
    hub.repositories["datasets/school/ours"].private = False
    assert not push(hub, pulled, hub.bob, private=False).private


@pytest.mark.parametrize("part", ["/repos/create", "/preupload/", "/commit/"])
@pytest.mark.parametrize("status", [403, 0])
def test_a_failed_push_says_what_is_there_and_can_be_repeated(hub, part, status):
    hub.fail("POST", part, status, times=1 if status else 99)
    with pytest.raises(UserError) as error:
        push(hub, put(ROWS))
    made = "datasets/alice/mine" in hub.repositories
    assert made == (part != "/repos/create") and ("was created, without the dataset" in str(error.value)) == made
    hub.faults.clear()
    assert push(hub, put(ROWS)).changed


@pytest.mark.parametrize(
    ("rows", "wish", "words"),
    [
        ([], {}, "The dataset has no rows"),
        ([row(0), {"text": "x"}], {}, "Row 2 has no conversation"),
        (ROWS, {"repo_name": "bob/mine"}, "alice cannot push to bob"),
        (ROWS, {"repo_name": "a b"}, "is not a valid name for a repository"),
        (ROWS, {"test_share": 0.9}, "90% of the rows cannot be held out"),
    ],
)
def test_what_cannot_be_pushed_is_a_sentence_and_leaves_nothing(hub, rows, wish, words):
    with pytest.raises(UserError, match=words):
        push(hub, put(rows), **wish)
    assert not hub.repositories and not list((home() / "sending").glob("*"))


@pytest.mark.parametrize(
    ("wanted", "name", "words"),
    [
        ("alice/nothing", "", "There is no 'alice/nothing'"),
        ("alice/mine", "new", "There is no 'alice/mine' on the Hugging Face Hub, or it is private"),
        ("bob/other", "", "bob/other has no train.jsonl"),
        ("bob/bad", "", "bob/bad has no row that can be read"),
        ("bob/rows", "Taken", "You have a dataset 'taken' already"),
        ("bob/rows@v9", "", "no such revision"),
        ("../../etc/passwd", "", "is not the name of a repository"),
        ("https://evil.example/bob/rows", "", "is not an address on the Hugging Face Hub"),
    ],
)
def test_what_cannot_be_pulled_is_a_sentence_and_leaves_nothing(hub, wanted, name, words):
    push(hub, put(ROWS))
    hub.add("datasets/bob/other", {"data.parquet": b"PAR1"})
    hub.add("datasets/bob/bad", {"train.jsonl": b'[1]\n{"messages": 5}\nx\n'})
    hub.add("datasets/bob/rows", {"train.jsonl": json.dumps(LIKED).encode()})
    put([LIKED], "taken", "bob")
    with pytest.raises(UserError, match=words):
        pull_data(wanted, hub.bob, "bob", name)
    assert [one.name for one in list_datasets("bob")] == ["taken"]


def test_of_a_strangers_rows_only_what_is_known_and_whole_is_kept(hub):
    messages = LIKED["messages"]
    rows = [
        {"messages": messages, "key": "k", "label": "no", "path": "/etc/passwd", "made": {"teacher": 5}},
        {"messages": messages, "key": "k", "rejected": [1], "source": "x"},
        {"messages": messages, "key": "k", "made": {"teacher": "t\n" * 999, "start": -1, "time": "x", "more": 1}},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": messages[:1]},
    ]
    content = "".join(json.dumps(one) + "\n" for one in rows) + '{"a":' * 100_000
    hub.add("datasets/bob/rows", {"train.jsonl": content.encode()})
    pulled = pull_data("https://huggingface.co/datasets/bob/rows", False)
    first, second = read_rows("rows")
    assert first == {"messages": messages, "key": "k"} and second["key"] != "k" and pulled.unread == 4
    assert set(second["made"]) == set(MADE) and len(second["made"]["teacher"]) <= 200
    assert pulled.source.is_public and source_of(find_dataset("rows")) == pulled.source


def test_a_line_of_nothing_but_lists_takes_no_memory(hub):
    content = b'{"messages": [' + b"[]," * 3_000_000 + b"[]]}\n" + json.dumps(LIKED).encode()
    hub.add("datasets/bob/rows", {"train.jsonl": content})
    tracemalloc.start()
    assert pull_data("bob/rows", False).unread == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6, f"{peak / 1e6:.0f} MB"


def test_more_than_there_is_room_for_is_not_downloaded(hub, monkeypatch):
    push(hub, put(ROWS))
    monkeypatch.setattr(pull, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="take more than 0 MB"):
        pull_data("alice/mine", hub.alice, name="back")
    assert not hub.sent("GET", "/resolve/")


def test_guests_download_no_more_than_all_of_them_may_keep(hub, monkeypatch):
    push(hub, put(ROWS), private=False)
    monkeypatch.setenv("STUDIO_MAX_GUEST_BYTES", "100")
    with pytest.raises(UserError, match="All guests together"):
        pull_data("alice/mine", False, "guest-new")
    assert not hub.sent("GET", "/resolve/") and pull_data("alice/mine", False, "user-bob").sets


READ = """
import json, sys
from data.columns import recognise
from data.published import plain_row
from data.reading import read_rows
from data.shapes import to_conversation
from data.turns import LeftOut
rows, trained = [row for split in ("train", "test") for row in read_rows(sys.argv[1], split=split)], []
for row in rows:
    try:
        trained.append(to_conversation(row, recognise(rows))["messages"])
    except LeftOut:
        continue
print(json.dumps([list(map(plain_row, rows)), trained]))
"""


def test_a_public_one_is_training_data_by_its_id_with_all_that_the_rows_hold(hub):
    """The types stand in the card: the columns of the first ten megabytes would else be those of all."""
    rows = [row(number) for number in range(120)]
    for one in rows:
        one["messages"][0]["content"] += "x" * 99_000
    rows += [{**one, "key": f"m{number}"} for number, one in enumerate(ROWS)]
    push(hub, put(rows), private=False, test_share=0.05)
    environment = {**child_environment(), "HF_ENDPOINT": hub.url}
    command = [sys.executable, "-c", READ, "alice/mine"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found, trained = json.loads(done.stdout)
    assert len(found) == len(rows) and by_key(found) == by_key(rows)
    assert trained == [one["messages"] for one in found if one.get("label") is not False], (
        "the disliked one is left out"
    )


def test_the_command_line_pushes_and_pulls(hub, capsys, monkeypatch):
    put(ROWS)
    monkeypatch.setattr(hub_jobs, "token_of", lambda token: hub.alice)
    parser = argparse.ArgumentParser()
    hub_jobs.add_hub_jobs(parser.add_subparsers())

    def run(*arguments: str) -> str:
        options = parser.parse_args(arguments)
        options.work(options)
        return capsys.readouterr().out

    said = run("push", "mine", "--license", "mit", "--test", "0.3")
    assert "Signed in as alice. Creates alice/mine (private) with 4 files" in said and "new        train.jsonl" in said
    with pytest.raises(UserError, match=r"already exists.*Add --yes"):
        run("push", "mine")
    assert f"{hub.url}/datasets/alice/mine" in run("push", "mine", "--yes", "--test", "0.2")
    said = run("pull", "alice/mine", "--name", "back")
    assert said.splitlines()[1:] == [str(find_dataset(name).path) for name in ("back", "back-test")]
