"""Search, filters, order, comparison; what is deleted comes back for a day."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.inputs import make_library
from common.errors import UserError
from common.files import read_json, write_json, write_text
from common.paths import adapters_folder, runs_folder
from runs import history
from runs.config import TrainConfig
from runs.history import (
    EVERY_RUN,
    Row,
    RunFilter,
    compare,
    copy_settings,
    delete,
    deleted,
    discard,
    remove,
    search,
    undo_delete,
)
from runs.labels import EXPERIMENT, set_labels, title_of
from runs.processes import this_process
from runs.publish import place_of
from runs.run import EventLog, Run, find_run, list_runs, read_state
from tests import queueing
from ui.train import history_view


def make_run(name: str = "run", owner: str = "alice", **settings) -> Run:
    run = queueing.make_run(name, owner, **settings)
    EventLog(run).write("done", metrics={"loss_after": 1.0})
    return run


def make_adapter(run: Run):
    folder = adapters_folder(run.owner) / run.id
    folder.mkdir(parents=True)
    write_text(folder / "training_config.yaml", run.config_file.read_text())
    return folder


def test_search_finds_titles_notes_data_base_and_state():
    first, second = make_run("first", data="poems.csv"), make_run("second", base="embedded")
    set_labels(first, "한국어 시", "with NEFTune")
    assert search("alice", RunFilter("neftune POEMS")) == [first] and search("alice", RunFilter("한국어")) == [first]
    assert search("alice", RunFilter("embedded done")) == [second] and search("alice", RunFilter("nothing")) == []
    assert len(search("alice")) == 2 and search("bob") == []


def test_runs_of_experiments_are_listed_only_where_words_or_their_tag_ask_for_them():
    mine, cell = make_run("mine"), make_run("cell")
    set_labels(cell, "Ranks: LoRA r4, seed 1", tags=[EXPERIMENT], experiment="ranks/lora-r4-1")
    assert search("alice") == [mine]
    assert search("alice", RunFilter(tags=(EXPERIMENT,))) == search("alice", RunFilter("r4")) == [cell]
    runs = list_runs("alice")
    assert [run_id for _label, run_id in history_view.run_choices(runs)] == ["mine"]
    assert [run_id for _label, run_id in history_view.run_choices(runs, picked="cell")] == ["mine", "cell"]
    set_labels(mine, tags=[EXPERIMENT])  # a word of a person's
    assert search("alice") == [mine]


def test_what_is_removed_for_good_is_in_no_trash_and_takes_only_its_own_adapter_with_it():
    run, other = make_run("first"), make_run("second")
    adapter = make_adapter(run)
    write_json(run.process_file, {"launcher": this_process(os.getpid())})
    with pytest.raises(UserError, match="still training"):
        remove(run)
    run.process_file.unlink()
    remove(run)
    remove(other)
    assert not run.folder.exists() and not adapter.exists() and deleted("alice") == []
    kept = make_adapter(make_run("third"))
    (kept / "training_config.yaml").write_text("of another run")
    remove(find_run("third", "alice"))
    assert kept.exists()


def test_a_search_finds_each_state_and_what_changed_at_once():
    done, gone, hers = make_run("first"), make_run("second"), make_run("first", owner="bob")
    EventLog(gone).write("training")
    write_json(gone.process_file, {"trainer": {"pid": 2**22 + 1, "started": 1.0}})
    assert search("alice", RunFilter("done")) == [done] and search("alice", RunFilter("inter")) == [gone]
    assert search("bob", RunFilter("first done")) == [hers] and search("bob", RunFilter("second")) == []
    EventLog(done).write("failed", message="No.")
    write_text(done.config_file, TrainConfig(name="first", base="a/b", data="it's mine.csv").to_yaml())
    assert search("alice", RunFilter("failed")) == search("alice", RunFilter("a/b it's mine")) == [done]
    assert search("alice", RunFilter("done")) == []
    delete(done)
    assert search("alice", RunFilter("failed")) == [] and search("alice", RunFilter("first")) == []


def test_runs_are_filtered_by_tags_and_star_and_put_in_order():
    runs = [make_run(name) for name in ("a", "b", "c", "d")]
    for number, run in enumerate(runs):
        os.utime(run.config_file, (number, number))
    a, b, c, d = runs
    set_labels(a, "Zebra", tags=["Poems", "korean"], starred=True)
    set_labels(b, "apple", tags=["poems"])
    EventLog(c).write("eval", step=1, loss=0.5)
    EventLog(d).write("eval", step=1, loss=0.25)
    for run, loss in ((a, 0.125), (b, float("nan"))):
        EventLog(run).write("step", step=1, loss=loss)

    def found(**wanted) -> list[Run]:
        return search("alice", RunFilter(**wanted))

    assert found(tags=("POEMS",)) == [b, a] and found(tags=("poems", "Korean")) == [a] == found(starred=True)
    assert found(tags=("poem",)) == [] and found(words="poem") == [b, a] and found(words="#poems", starred=True) == [a]
    assert found(order="starred") == [a, d, c, b] and found(order="title") == [b, c, d, a]
    assert found(order="loss") == [d, c, a, b], "held-out losses come first, then losses, then what has none"
    assert history.tags_of(list_runs("alice")) == ["korean", "poems"]


def test_a_search_for_words_opens_no_events(monkeypatch):
    runs = [make_run(f"run-{number}") for number in range(5)]
    monkeypatch.setattr(history, "read_state", lambda run, **options: pytest.fail("the events were read"))
    assert search("alice", RunFilter("run-3")) == [runs[3]] and search("alice", RunFilter("nowhere")) == []


def test_a_thousand_runs_are_listed_in_a_moment():
    make_library(1000, "alice")
    began = time.thread_time()
    history_view.listed("alice", EVERY_RUN, [])
    history_view.listed("alice", RunFilter("done"), [])
    assert time.thread_time() - began < 5, "0.4 s on an idle machine"


def test_a_run_is_the_newer_the_later_its_settings_were_written():
    for name, written in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        os.utime(make_run(name).config_file, (written, written))
    assert [run.id for run in list_runs("alice")] == ["c", "b", "a"]


def test_a_deleted_run_comes_back_with_everything():
    run = make_run()
    set_labels(run, "Mine")
    gone = delete(run)
    assert list_runs("alice") == [] and [entry.title for entry in deleted("alice")] == ["Mine"]
    with pytest.raises(UserError):
        find_run("run", "alice")
    back = undo_delete("alice", gone.entry)
    assert back == run and title_of(back) == "Mine" and read_state(back).status == "done" and deleted("alice") == []


def test_a_run_comes_back_by_its_id_under_a_free_name():
    delete(make_run())
    delete(make_run(max_steps=7))
    make_run()
    back = undo_delete("alice", "run")
    assert back.id == "run-2" and back.config().max_steps == 7, "the last deleted one"


def test_nobody_brings_back_or_sees_what_others_deleted():
    entry = delete(make_run()).entry
    assert deleted("bob") == []
    for name in (entry, "run", f"../../alice/.trash/{entry}", "..", ""):
        with pytest.raises(UserError):
            undo_delete("bob", name)


def test_a_run_that_waits_or_trains_is_not_deleted():
    waits, trains = make_run("waits"), make_run("trains")
    write_json(waits.queued_file, {"time": 1.0})
    write_json(trains.process_file, {"trainer": this_process(os.getpid())})
    with pytest.raises(UserError, match="waiting in the queue"):
        delete(waits)
    with pytest.raises(UserError, match="still training"):
        delete(trains)


def test_the_trash_keeps_ten_runs_for_a_day(monkeypatch):
    for number in range(13):
        delete(make_run(f"run-{number}"))
    assert [entry.run_id for entry in deleted("alice")] == [f"run-{number}" for number in range(12, 2, -1)]
    assert len(list((runs_folder("alice") / ".trash").iterdir())) == 10
    tomorrow = time.time() + history.DELETED_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert deleted("alice") == [] and not list((runs_folder("alice") / ".trash").iterdir())


def test_discard_takes_the_adapter_along_and_undo_brings_both_back():
    run = make_run()
    adapter = make_adapter(run)
    gone = discard(run)
    assert not adapter.exists() and list_runs("alice") == []
    assert undo_delete("alice", gone.entry) == run and (adapter / "training_config.yaml").exists()


def test_discard_leaves_an_adapter_that_came_from_elsewhere():
    run = make_run()
    adapter = make_adapter(run)
    write_text(adapter / "training_config.yaml", "name: another\n")
    discard(run)
    assert adapter.exists()


def test_an_adapter_has_the_runs_name_unless_another_one_has_it():
    run = make_run()
    assert place_of(run).name == "run", "nothing is there"
    adapter = make_adapter(run)
    assert place_of(run) == adapter, "its own is replaced"
    write_text(adapter / "training_config.yaml", "name: another\n")
    make_run("run-2")
    assert place_of(run).name == "run-3", "run-2 is the name of another run"
    adapter.with_name("run-3").mkdir()
    write_text(adapter.with_name("run-3") / "training_config.yaml", run.config_file.read_text())
    assert place_of(run).name == "run-3"
    discard(run)
    assert adapter.exists() and not adapter.with_name("run-3").exists()


def test_discard_ends_a_training_that_does_not_listen():
    """A process that ignores SIGTERM, with a child that does too."""
    run = make_run()
    stubborn = "import signal, time, sys, subprocess; signal.signal(15, signal.SIG_IGN); {more}; time.sleep(60)"
    child = f"subprocess.Popen([sys.executable, '-c', {stubborn.format(more='print(1, flush=True)')!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", stubborn.format(more=child)], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()  # both listen now
    write_json(run.process_file, {"launcher": this_process(process.pid)})
    began = time.monotonic()
    discard(run)
    assert time.monotonic() - began < 8
    group = [each for each in psutil.process_iter() if os.getpgid(each.pid) == process.pid]
    assert all(each.status() == psutil.STATUS_ZOMBIE for each in group)
    process.wait()


def test_discard_takes_a_waiting_run_out_of_the_queue():
    run = make_run()
    write_json(run.queued_file, {"time": 1.0})
    back = undo_delete("alice", discard(run).entry)
    assert read_state(back).status == "stopped"


def test_an_undo_that_was_cut_off_is_finished_by_the_next():
    run = make_run()
    adapter = make_adapter(run)
    entry = discard(run).entry
    (runs_folder("alice") / ".trash" / entry / "adapter").rename(adapter)
    assert undo_delete("alice", entry) == run and adapter.exists()


def test_compared_runs_show_where_they_differ():
    runs = [make_run("slow", learning_rate=1e-4), make_run("fast", learning_rate=1e-3)]
    for run, loss in zip(runs, (2.0, 1.0), strict=True):
        EventLog(run).write("step", step=1, loss=loss)
    compared = compare(runs)
    assert [row for row in compared.settings if row.differs] == [Row("learning_rate", [1e-4, 1e-3])]
    assert compared.losses == [[(1, 2.0)], [(1, 1.0)]] and compared.metrics == [{"loss_after": 1.0}] * 2


def test_copied_settings_train_on_the_copied_file():
    run = make_run(data="data/data.jsonl", base_reason="because")
    run.data_folder.mkdir()
    (run.data_folder / "data.jsonl").write_text("{}\n")
    config = copy_settings(run)
    assert config.data == str(run.data_folder / "data.jsonl") and config.base_reason == ""
    assert read_json(run.about_file) is None, "looking at settings writes nothing"
