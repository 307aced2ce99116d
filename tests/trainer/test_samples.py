"""The model answers while it learns, and learns as if nobody had asked."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from models.patches.few_rows import FewRows
from models.precision import load_base_model
from runs.config import TrainConfig
from runs.launcher import create_run
from tests.running import events, losses, run_main, small_settings, write_rows
from trainer.patches import lean_evaluation
from trainer.samples import SampleAnswers, _Ends, answer, choose_prompts

PROMPTS = "What is 1?\nWhat is 2?\nWho are you?"


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    numbers = {"max_steps": 4, "eval_steps": 2, "max_length": 128, "lora_dropout": 0.2, "neftune_noise_alpha": 5.0}
    return small_settings(tiny_base, tmp_path, rows=16, **numbers)


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_losses_are_bit_equal_with_and_without_samples(settings, precision, monkeypatch):
    """With dropout and NEFTune, which draw random numbers, and with gradient checkpointing."""
    shared = {**settings, "precision": precision, "gradient_checkpointing": "on", "sample_prompts": PROMPTS}
    silent = create_run(TrainConfig(name="silent", **shared))
    with monkeypatch.context() as patch:
        patch.setattr(SampleAnswers, "look", lambda self, model, step: None)
        assert run_main(silent) == 0
    asked = create_run(TrainConfig(name="asked", **shared))
    assert run_main(asked) == 0
    assert losses(asked) == losses(silent) and len(losses(asked)) == 4
    looks = events(asked, "samples")
    assert [look["step"] for look in looks] == [0, 2, 4] and not events(silent, "samples")
    assert all([answer["prompt"] for answer in look["answers"]] == PROMPTS.split("\n") for look in looks)
    assert all(answer["answer"] for answer in looks[0]["answers"])


def test_answers_change_as_the_model_learns(settings):
    longer = {**settings, "max_steps": 30, "eval_steps": 30, "learning_rate": 0.02}
    run = create_run(TrainConfig(name="learns", **longer))
    assert run_main(run) == 0
    first, last = events(run, "samples")
    assert first["answers"] != last["answers"] and len(first["answers"]) == 2
    assert first["answers"][0]["prompt"].startswith("What is")


def test_an_answer_in_a_batch_is_the_answer_alone(tiny_base, tinyllama_tokenizer):
    model = load_base_model(tiny_base, "fp32").train()
    prompts = [
        [{"role": "user", "content": words}] for words in ("Hi", "What is the tallest mountain of all?", "word " * 300)
    ]
    together = answer(model, tinyllama_tokenizer, prompts)
    assert together[:2] == [answer(model, tinyllama_tokenizer, [prompt])[0] for prompt in prompts[:2]]
    assert together[2]["answer"] == "", "longer than the window of the base"
    late = answer(model, tinyllama_tokenizer, prompts, is_over=lambda: True)
    assert late[0]["answer"].endswith(" ... (time limit)") and late[0].get("is_cut")
    assert model.training


@pytest.mark.parametrize(
    ("written", "is_over", "marked"),
    [
        ([5, 6, 7, 2], False, (4, None)),
        ([5, 6, 7, 8] * 3, False, (12, "text ... (repeats itself)")),
        ([5, 6, 7, 8] * 3, True, (1, "text ... (time limit)")),
        (list(range(10, 40)), False, (20, "text ...")),
        ([5] * 11, False, None),
    ],
    ids=["its end", "repeats", "time", "length", "goes on"],
)
def test_an_answer_ends_for_a_reason_that_it_says_and_others_go_on(written, is_over, marked):
    told = []
    ends = _Ends(1, {2}, 20, lambda: is_over, lambda done, count, part: told.append((done, count)))
    for count in range(1, len(written) + 1):
        rows = torch.tensor([[1, *written[:count]], [1, *(100 + n for n in range(count))]])
        if ends(rows, None).tolist()[0]:
            break
    found = ends.found.get(0)
    assert (found and (len(found[0]), found[1] and found[1]("text"))) == marked
    assert told[-1][1] == 2 and (1 in ends.found) == (is_over or marked == (20, "text ..."))


class HalfALetter(SimpleNamespace):
    """A model that writes one Korean letter, then the first of the three bytes of another, until it is stopped."""

    def __init__(self, tokenizer) -> None:
        config = SimpleNamespace(max_position_embeddings=512)
        super().__init__(config=config, generation_config=SimpleNamespace(eos_token_id=None), training=False)
        self.device, self.bytes = "cpu", tokenizer.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in "가".encode()])

    def eval(self) -> None:
        pass

    def train(self, mode: bool) -> None:
        pass

    def generate(self, input_ids, stopping_criteria, **settings) -> None:
        for token in (*self.bytes, self.bytes[0]):
            input_ids = torch.cat([input_ids, torch.full((len(input_ids), 1), token)], dim=1)
            if stopping_criteria[0](input_ids, None).all():
                return


def test_an_answer_that_is_cut_in_a_letter_ends_before_it(tinyllama_tokenizer):
    asked = [0]

    def is_over() -> bool:
        asked[0] += 1
        return asked[0] == 4

    model, prompts = HalfALetter(tinyllama_tokenizer), [[{"role": "user", "content": "Hi"}]]
    assert answer(model, tinyllama_tokenizer, prompts, is_over)[0]["answer"] == "가 ... (time limit)"


def test_prompts_are_the_users_else_the_first_held_out_questions():
    def said(**words: str) -> dict:
        return {"messages": [{"role": role, "content": content} for role, content in words.items()]}

    def always(messages) -> bool:
        return True

    held_out = [{"text": "no conversation"}, said(system="S", user="U", assistant="A"), said(assistant="no question")]
    held_out += [said(user=str(n), assistant="A") for n in range(4)]
    chosen = choose_prompts(TrainConfig(), held_out, always)
    assert [messages[-1]["content"] for messages in chosen] == ["U", "0", "1"] and chosen[0][0]["role"] == "system"
    assert choose_prompts(TrainConfig(sample_prompts=" a \n\nb"), held_out, always) == [
        [{"role": "user", "content": c}] for c in "ab"
    ]
    assert choose_prompts(TrainConfig(), [{"text": "only text"}], always) == []


def test_a_long_held_out_question_is_clipped_and_one_beyond_the_window_is_passed_over(settings, tmp_path):
    questions = ["word " * 400, "mountain " * 100, "What is 1?"]  # the window has 256 tokens
    held_out = write_rows(tmp_path / "held_out.jsonl", [{"prompt": q, "completion": "A"} for q in questions])
    run = create_run(TrainConfig(name="long", **{**settings, "eval_data": held_out, "max_steps": 1}))
    assert run_main(run) == 0
    for look in events(run, "samples"):
        prompts = [answer["prompt"] for answer in look["answers"]]
        assert prompts == [("mountain " * 100)[:499] + "…", "What is 1?"]
        assert all(len(answer["answer"]) <= 500 for answer in look["answers"])


@pytest.mark.parametrize("shape", [(1, 24), (2, 24), (3, 1, 24), (16, 24), (17, 24)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_of_few_rows_are_those_of_torch(shape, dtype):
    linear = torch.nn.Linear(24, 40).to(dtype)
    inputs = torch.randn(shape, dtype=dtype)
    expected = linear(inputs)
    with FewRows():
        found = linear(inputs)
    assert found.shape == expected.shape and found.dtype == dtype
    torch.testing.assert_close(found, expected)
    if dtype != torch.float32 or not 2 <= inputs.numel() // 24 <= 16:
        assert torch.equal(found, expected), "torch's own"


@pytest.fixture
def biased() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(24, 40)


def with_adapter(base: torch.nn.Linear, **settings):
    """A network of one layer with a branch that changes what it computes."""
    config = LoraConfig(target_modules=["0"], init_lora_weights=False, lora_dropout=0.5, **settings)
    return get_peft_model(torch.nn.Sequential(base), config).eval()


@pytest.mark.parametrize("shape", [(1, 24), (3, 1, 24), (16, 24), (2, 20, 24)])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}], ids=str)
def test_an_evaluation_computes_what_peft_does(biased, settings, shape):
    """Of more rows than a few, with the adapter off, to the bit."""
    model, inputs = with_adapter(biased, **settings), torch.randn(shape)
    with torch.no_grad():
        expected = model(inputs)
        with model.disable_adapter():
            base = model(inputs)
        lean_evaluation.install(model)
        torch.testing.assert_close(model(inputs), expected)
        with model.disable_adapter():
            found = model(inputs)
        torch.testing.assert_close(found, base)
    assert torch.equal(found, base) or 2 <= inputs.numel() // 24 <= 16
    assert not torch.allclose(expected, base)


def test_training_is_left_to_peft_to_the_bit_after_an_evaluation_too(biased):
    model, inputs = with_adapter(biased), torch.randn(20, 24)

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)
        model.train().zero_grad()
        model(inputs).square().sum().backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    expected = gradients()
    lean_evaluation.install(model)
    lean_evaluation.install(model)
    with torch.no_grad():
        model.eval()(inputs)
    assert all(map(torch.equal, gradients(), expected)) and len(expected) == 2
