"""Losses in batches are those of transformers and PEFT, one text at a time; `stop` and the window are minded."""

import threading

import pytest

from chat.resident import Model, Resident
from evaluation import likelihood, questions
from evaluation.likelihood import answer_losses, choice_losses, text_losses
from evaluation.questions import chat_prompt
from models.prompt import encode_messages, encode_text
from models.templates import read_template
from tests.chat.conftest import make_adapter

NEVER = threading.Event()
CHOICES = ["Yes", "Yes, it is", "아니요", "No", "A much longer choice than all the others"]
SHOTS = [{"number": 90, "messages": [{"role": "user", "content": "Is a llama a plant?"}], "answer": "No"}]
ITEMS = [
    {
        "number": 10 + number,
        "messages": [
            {"role": "system", "content": "Answer each question in one word. 짧게 답하세요."},
            {"role": "user", "content": f"Is {number} {'very ' * (number % 4)}large?"},
        ],
        "answer": CHOICES[number % 3],
        "choices": CHOICES[: 2 + number % 4],
    }
    for number in range(9)
]
TEXTS = [{"number": number, "text": f"Text {number} of llamas and 라마. " * 9**number} for number in range(3)]
FUNCTIONS = [(answer_losses, ITEMS), (choice_losses, ITEMS), (text_losses, TEXTS)]
CLOSE = 1e-4  # nats: fp32 sums in another order


@pytest.fixture(scope="session")
def adapter(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("likelihood") / "adapter"
    return make_adapter(tiny_base, folder, 1, 0.2, target_modules="all-linear")


@pytest.fixture(scope="module")
def resident():
    return Resident()


@pytest.fixture(params=["base", "adapter"])
def model(request, tiny_base, adapter):
    return Model(tiny_base, "fp32", adapter if request.param == "adapter" else None)


def network_of(model):
    """A model as transformers and PEFT load it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model.base_folder)
    if model.adapter_folder:
        network = PeftModel.from_pretrained(network, str(model.adapter_folder))
    return network.eval()


@pytest.fixture
def plain(model):
    """transformers' and PEFT's own: (ids, labels from a place on) to the sum of the losses."""
    import torch

    network = network_of(model)

    def loss(ids: list[int], first: int) -> float:
        labels = [-100] * first + ids[first:]
        with torch.no_grad():
            mean = network(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        return float(mean) * (len(ids) - first)

    return loss


def by_item(results) -> dict:
    found = list(results)
    assert len({result["item"] for result in found}) == len(found)
    return {result["item"]: result for result in found}


def tokens_of(resident, model, messages, answer) -> tuple[list[int], int, int]:
    """(ids as a training has them, the place of the answer's first token, the place of its stop token)."""
    turns = [{**turn, "trained": False} if turn["role"] == "assistant" else turn for turn in messages]
    turns.append({"role": "assistant", "content": answer})
    ids, trained = encode_messages(turns, resident.format_of(model).tokenizer, read_template("zephyr"))
    stop = len(trained) - 1 - trained[::-1].index(True)
    return ids, trained.index(True), stop


@pytest.mark.parametrize("shots", [[], SHOTS], ids=["", "few-shot"])
def test_losses_of_answers_are_those_that_a_training_would_see(resident, model, plain, shots):
    found = by_item(answer_losses(resident, model, ITEMS, NEVER, shots))
    for item in ITEMS:
        ids, first, stop = tokens_of(resident, model, chat_prompt(item, shots), item["answer"])
        result = found.pop(item["number"])
        assert (result["tokens"], result["is_cut"]) == (stop + 1 - first, False)
        assert result["loss"] == pytest.approx(plain(ids[: stop + 1], first), abs=CLOSE)
    assert not found


@pytest.mark.parametrize("shots", [[], SHOTS], ids=["", "few-shot"])
def test_losses_of_choices_are_those_of_each_alone_without_its_stop_token(resident, model, plain, shots):
    found = by_item(choice_losses(resident, model, ITEMS, NEVER, shots))
    for item in ITEMS:
        wanted = []
        for choice in item["choices"]:
            ids, first, stop = tokens_of(resident, model, chat_prompt(item, shots), choice)
            wanted.append(plain(ids[:stop], first))
        assert found[item["number"]]["choice_losses"] == pytest.approx(wanted, abs=CLOSE)


def test_losses_of_a_text_beyond_the_window_are_the_sum_over_its_windows(resident, model, plain):
    found = by_item(text_losses(resident, model, TEXTS, NEVER))
    for item in TEXTS:
        ids = encode_text(item["text"], resident.format_of(model).tokenizer)
        wanted = [plain(ids[start : start + 256], 1) for start in range(0, len(ids) - 1, 255)]
        assert found[item["number"]]["tokens"] == len(ids) - 1
        assert found[item["number"]]["loss"] == pytest.approx(sum(wanted), abs=CLOSE * len(wanted))
    assert len(wanted) > 3


@pytest.mark.parametrize(("losses", "items"), FUNCTIONS)
def test_batches_parts_and_what_is_read_once_change_nothing(resident, model, monkeypatch, losses, items):
    together = by_item(losses(resident, model, items, NEVER))
    monkeypatch.setattr(likelihood, "SORTED_TOGETHER", 1)
    monkeypatch.setattr(likelihood, "MAX_BATCH_TOKENS", 1)
    monkeypatch.setattr(likelihood, "MAX_LOGIT_BYTES", 1)
    if losses is not text_losses:  # its windows are what they are
        monkeypatch.setattr(questions, "MAX_ROW_TOKENS", 1)  # each choice alone
    alone = by_item(losses(resident, model, items, NEVER))
    assert alone.keys() == together.keys()
    for number, result in alone.items():
        for name, value in result.items():
            assert together[number][name] == pytest.approx(value, abs=CLOSE), name


def test_after_an_adapter_the_base_is_the_base_and_they_differ(resident, tiny_base, adapter):
    base, tuned = Model(tiny_base, "fp32"), Model(tiny_base, "fp32", adapter)
    before, other, after = (list(choice_losses(resident, model, ITEMS, NEVER)) for model in (base, tuned, base))
    assert before == after and resident.bases_loaded == 1
    for one, another in zip(before, other, strict=True):
        assert all(abs(a - b) > 10 * CLOSE for a, b in zip(one["choice_losses"], another["choice_losses"], strict=True))


def test_what_does_not_fit_is_left_out_and_said(resident, tiny_base):
    model, turns = Model(tiny_base, "fp32"), ITEMS[0]["messages"]
    older = [{"role": "user", "content": "word " * 220}, {"role": "assistant", "content": "Yes"}]
    items = [
        {**ITEMS[0], "number": 1, "messages": [turns[0], *older, turns[1]]},
        {**ITEMS[0], "number": 2, "messages": [{"role": "user", "content": "word " * 300}]},
        {**ITEMS[0], "number": 3},
    ]
    for losses, name in ((answer_losses, "loss"), (choice_losses, "choice_losses")):
        found = by_item(losses(resident, model, items, NEVER))
        assert [found[number]["is_cut"] for number in (1, 2, 3)] == [True, True, False]
        assert name not in found[2] and found[1][name] == pytest.approx(found[3][name], abs=CLOSE)


@pytest.mark.parametrize(("losses", "items"), FUNCTIONS)
def test_a_stop_ends_it_within_a_batch_and_what_came_is_whole(resident, tiny_base, monkeypatch, losses, items):
    monkeypatch.setattr(likelihood, "MAX_BATCH_TOKENS", 1)
    stop, model = threading.Event(), Model(tiny_base, "fp32")
    whole = by_item(losses(resident, model, items, stop))
    results = losses(resident, model, items, stop)
    first = next(results)
    stop.set()
    assert list(results) == [] and first == whole[first["item"]]
    assert list(losses(resident, model, items, stop)) == []


def test_a_large_vocabulary_is_never_scored_for_more_than_a_few_tokens(resident, tiny_base, monkeypatch):
    import torch

    most, sizes = 32_000 * 4 * 16, []
    monkeypatch.setattr(likelihood, "MAX_LOGIT_BYTES", most)
    original = torch.nn.functional.cross_entropy

    def measure(scores, *args, **kwargs):
        sizes.append(scores.nbytes)
        return original(scores, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", measure)
    list(text_losses(resident, Model(tiny_base, "fp32"), TEXTS, NEVER))
    assert len(sizes) > 20 and max(sizes) == most


def test_choices_are_what_lm_eval_says_but_for_the_white_space_before_all_of_them(resident, model):
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is not installed")
    from lm_eval.api.instance import Instance

    tokenizer, network = resident.format_of(model).tokenizer, network_of(model)
    settings = {"backend": "causal", "device": "cpu", "add_bos_token": False}  # this template has none
    harness = huggingface.HFLM(pretrained=network, tokenizer=tokenizer, **settings)
    for result in choice_losses(resident, model, ITEMS, NEVER):
        item = ITEMS[result["item"] - 10]
        prompt = harness.apply_chat_template(item["messages"])
        asked = [Instance("loglikelihood", {}, (prompt, choice), 0) for choice in item["choices"]]
        theirs = [-likelihood for likelihood, _is_greedy in harness.loglikelihood(asked, disable_tqdm=True)]
        ours = result["choice_losses"]
        assert [loss - ours[0] for loss in ours] == pytest.approx([loss - theirs[0] for loss in theirs], abs=2 * CLOSE)
