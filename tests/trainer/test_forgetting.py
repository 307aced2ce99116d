"""The loss on test sets is measured while a run learns, of the base first, and changes nothing of what it learns."""

import pytest
import torch

from adapters.forgotten import general_nats
from adapters.library import find_adapter
from data.dataset import in_pieces
from models.precision import load_base_model
from models.prompt import encode_text
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run, read_state
from runs.test_sets import draw, read_sample
from tests.running import events, losses, run_main, small_settings
from trainer import step_0
from trainer.forgetting import PIECE_TOKENS, token_rows
from trainer.stages import history
from trainer.studio_trainer import StudioTrainer


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    numbers = {"max_steps": 4, "eval_steps": 2, "save_steps": 2, "learning_rate": 0.01}
    return small_settings(tiny_base, tmp_path, rows=16, **numbers)


def trained(name: str, **settings) -> Run:
    run = create_run(TrainConfig(name=name, **settings))
    assert run_main(run) == 0
    return run


def measured(run: Run) -> dict[int, float]:
    return {event["step"]: event["tested"]["general"]["loss"] for event in events(run, "tested")}


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_a_run_learns_bit_by_bit_what_it_learns_without_test_sets(settings, precision):
    """With dropout and NEFTune, which draw random numbers, and with gradient checkpointing."""
    noise = {"lora_dropout": 0.2, "neftune_noise_alpha": 5.0, "gradient_checkpointing": "on"}
    shared = {**settings, **noise, "precision": precision}
    tested, plain = trained("tested", **shared), trained("plain", **shared, test_sets="")
    assert losses(tested) == losses(plain) and len(losses(plain)) == 4
    assert [event["loss"] for event in events(tested, "eval")] == [event["loss"] for event in events(plain, "eval")]
    assert list(measured(tested)) == [0, 2, 4] and not events(plain, "tested")


def test_step_0_is_the_base_and_the_rise_since_is_in_the_adapters_folder(settings, tiny_base, tinyllama_tokenizer):
    run = trained("coach", **settings)
    rows = token_rows(read_sample(run.data_folder, "general"), tinyllama_tokenizer, 256, 500)
    state = read_state(run)
    tokens = state.tested[0][1]["general"]["tokens"]
    assert 400 < tokens <= 500 and "This run is short: each evaluation uses 500 tokens of its test set." in state.notes
    total, count = 0.0, 0
    model = load_base_model(tiny_base, "fp32")
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            total += float(model(ids, labels=ids).loss) * (ids.numel() - 1)
        count += ids.numel() - 1
    first, *__, last = measured(run).values()
    assert count == tokens and first == pytest.approx(total / count, rel=1e-5) and last != first
    metrics = find_adapter(state.adapter).metrics
    assert metrics["forgotten"]["general"] == {"before": first, "after": last, "tokens": tokens}
    assert general_nats(metrics) == last - first


def test_of_a_continued_adapter_step_0_is_the_base_too_and_it_goes_on_as_it_was(settings):
    first = trained("first", **settings)
    name = read_state(first).adapter
    second, plain = (trained(f"on-{line}", **settings, init_adapter=name, test_sets=line) for line in ("general", ""))
    assert measured(second)[0] == pytest.approx(measured(first)[0], rel=1e-6) != measured(first)[4]
    assert events(second, "eval")[0]["loss"] == pytest.approx(events(first, "eval")[-1]["loss"], rel=1e-5)
    assert losses(second) == losses(plain)


def test_a_resume_measures_what_is_missing_and_finds_what_the_run_left_alone_found(settings):
    straight = measured(trained("straight", **settings))
    stopped = create_run(TrainConfig(name="stopped", **settings))
    assert run_main(stopped, stop_at=3) == 0 and list(measured(stopped))[:2] == [0, 2]
    stopped.stop_file.unlink()
    assert run_main(stopped) == 0
    found = history(stopped, 1).tested
    assert {step: found[step]["general"]["loss"] for step in straight} == straight


def test_a_stop_ends_a_measurement_and_a_resume_still_finds_the_base(settings, monkeypatch):
    straight = trained("straight", **settings)
    (straight.folder / step_0.FILE).unlink()  # or the next one would know the base's losses
    run, batches = create_run(TrainConfig(name="cut", **settings)), []
    predict = StudioTrainer.prediction_step

    def counted(self, *arguments, **more):
        batches.append(self.state.global_step)
        if len(batches) == 3:  # the first one is of held-out rows
            run.request_stop()
        return predict(self, *arguments, **more)

    monkeypatch.setattr(StudioTrainer, "prediction_step", counted)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert batches[:3] == [0, 0, 0] and "step 1 of 4" in stopped["message"] and stopped["metrics"]["loss_before"] > 0
    assert not stopped["metrics"]["forgotten"] and 0 not in measured(run)
    run.stop_file.unlink(missing_ok=True)
    assert run_main(run) == 0 and losses(run)[-3:] == losses(straight)[1:]
    assert measured(run) | measured(straight) == measured(run), "the base, too, though the adapter has learned since"
    assert general_nats(events(run, "done")[0]["metrics"]) == general_nats(events(straight, "done")[0]["metrics"])


def test_where_nothing_is_held_out_test_sets_are_measured_where_an_evaluation_would_be(settings):
    run = trained("all", **settings, eval_fraction=0.0)
    assert list(measured(run)) == [0, 2, 4] and not events(run, "eval")
    assert "general" in read_state(run).metrics["forgotten"]


def test_of_the_step_that_is_kept_the_rise_is_told(settings):
    run = trained("best", **{**settings, "learning_rate": 0.1, "keep": "best", "max_steps": 6})
    metrics, found = read_state(run).metrics, measured(run)
    assert metrics["forgotten"]["general"]["after"] == found[metrics["kept_step"]]


def test_of_texts_all_beginnings_come_first_and_of_conversations_the_answer_alone_counts(tinyllama_tokenizer):
    texts = [{"text": "one " * 300}, {"text": "two"}]
    rows = [row["input_ids"] for row in token_rows(texts, tinyllama_tokenizer, 1024, 4000)]
    ids = encode_text("one " * 300, tinyllama_tokenizer)
    assert rows == [ids[:PIECE_TOKENS], encode_text("two", tinyllama_tokenizer), ids[PIECE_TOKENS:]]
    assert len(token_rows(texts, tinyllama_tokenizer, 16, 4000)) == len(in_pieces(ids, 16)) + 1
    said = [("user", "A?"), ("assistant", "A."), ("user", "B?")]
    asked = {"messages": [{"role": role, "content": words} for role, words in said], "answer": "Yes."}
    (row,) = token_rows([asked], tinyllama_tokenizer, 256, 4000)
    counted = [token for token in row["labels"] if token != -100]
    assert tinyllama_tokenizer.decode(counted).strip() == "Yes.</s>"
    assert token_rows([{**asked, "answer": "no " * 300}], tinyllama_tokenizer, 256, 4000) == []


@pytest.mark.parametrize("most", [500, 4000])
def test_however_short_the_run_its_general_text_is_english_and_korean(tinyllama_tokenizer, most):
    rows = token_rows(draw("general", "local"), tinyllama_tokenizer, 512, most)
    texts = [tinyllama_tokenizer.decode(row["input_ids"]) for row in rows]
    are_korean = [any("가" <= letter <= "힣" for letter in text) for text in texts]
    assert (
        0.25 < sum(are_korean) / len(texts) < 0.75 and 0.9 * most < sum(len(row["input_ids"]) for row in rows) <= most
    )
