"""The command line of experiments: a file of settings starts one, and what is printed says how far it is."""

import pytest

from evaluation.experiments.__main__ import main
from evaluation.experiments.experiment import Experiment, list_experiments
from evaluation.run import Progress
from tests.evaluation.experiments.experiments import CONFIG, make_experiment


@pytest.fixture(autouse=True)
def ended_at_once(monkeypatch) -> None:
    """A process that ends as soon as it is started."""

    def start_process(experiment: Experiment, secret: str = "") -> None:
        status = "failed" if "bad" in experiment.id else "done"
        experiment.write_progress(
            Progress(status, "", 6, 6, None, "2 of 6 cells failed." if status == "failed" else "")
        )

    monkeypatch.setattr("evaluation.background.start_process", start_process)
    monkeypatch.setattr("evaluation.experiments.start.start_process", start_process)
    monkeypatch.setattr("evaluation.follow.POLL_SECONDS", 0.01)


def test_a_file_of_settings_starts_one_that_is_listed_shown_continued_and_deleted(tmp_path, capsys):
    file = tmp_path / "experiment.yaml"
    file.write_text(CONFIG.to_yaml())
    assert main(["start", str(file)]) == 0
    assert "done." in capsys.readouterr().out
    (experiment,) = list_experiments()
    main(["list"])
    assert "ranks" in (said := capsys.readouterr().out) and "6/6" in said
    main(["show", "ranks"])
    said = capsys.readouterr().out
    assert all(words in said for words in ("test_fraction: 0.2", "lora.1", "lora.2", "waiting"))
    assert main(["add-seeds", "ranks", "3,4"]) == 0 and experiment.config().seeds == [1, 2, 3, 4]
    assert main(["resume", "ranks"]) == 0 and main(["stop", "ranks"]) == 0 and experiment.stop_file.exists()
    assert main(["delete", "ranks"]) == 0 and list_experiments() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["start", "nowhere.yaml"], "cannot be read as YAML"),
        (["show", "nothing"], "no experiment 'nothing'"),
        (["add-seeds", "bad-one", "x"], "'x' is not a number"),
        (["add-seeds", "bad-one", "1"], "none twice"),
        (["resume", "bad-one"], ""),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(words, said, capsys):
    make_experiment("bad-one")
    assert main(words) == 1
    assert said in capsys.readouterr().err
