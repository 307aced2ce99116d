"""Raw completions with OpenAI's own client, and lm-eval's requests as its `local-completions` sends them."""

import json
import threading
from importlib.util import find_spec
from pathlib import Path

import httpx
import openai
import pytest

from chat.engine import Engine, Model
from evaluation.likelihood import text_losses
from models.prompt import encode_text
from serving.keys import new_key
from tests.tiny import TOKENIZER

TEXT = "The llama walks over the hills, and nobody knows why."
RECORDED = json.loads((Path(__file__).parent / "lm_eval_requests.json").read_text())


def complete(client, model, prompt, **options):
    return client.completions.create(model=model, prompt=prompt, **{"temperature": 0, "max_tokens": 8, **options})


def test_text_and_its_tokens_go_on_the_same_way_and_the_prompt_is_echoed_as_it_came(client, base, tinyllama_tokenizer):
    ids = encode_text(TEXT, tinyllama_tokenizer)
    text, tokens = complete(client, base, TEXT), complete(client, base, ids)
    assert text.choices[0].text == tokens.choices[0].text and text.usage == tokens.usage
    assert text.usage.prompt_tokens == len(ids) and text.choices[0].logprobs is None
    for prompt in (TEXT, ids):
        assert complete(client, base, prompt, echo=True).choices[0].text == TEXT + text.choices[0].text
    assert tinyllama_tokenizer.decode(ids, skip_special_tokens=True) == TEXT


def test_several_prompts_have_several_choices_in_their_order(client, library):
    prompts = [TEXT, "Hello", [1, 450]]
    alone = [complete(client, library[0], one).choices[0].text for one in prompts[:2]]
    together = complete(client, library[0], prompts[:2])
    assert [(one.index, one.text) for one in together.choices] == list(enumerate(alone))
    lists = complete(client, library[0], [[1, 450], [1, 450, 11148]], max_tokens=1)
    assert len(lists.choices) == 2 and lists.usage.prompt_tokens == 5


def test_the_logprobs_of_a_prompt_are_what_an_evaluation_finds(client, library, base, tiny_base, adapters):
    for name, folder in ((base, None), (library[0], adapters[0])):
        model = Model(tiny_base, "fp32", folder)
        (wanted,) = text_losses(Engine().resident, model, [{"number": 0, "text": TEXT}], threading.Event())
        told = complete(client, name, TEXT, max_tokens=0, echo=True, logprobs=1).choices[0].logprobs
        assert told.token_logprobs[0] is None and told.top_logprobs[0] is None
        assert -sum(told.token_logprobs[1:]) == pytest.approx(wanted["loss"], rel=1e-5)
        assert told.tokens[0] == "<s>" and "".join(told.tokens[1:]) == TEXT
        assert [TEXT[at:].startswith(text) for at, text in zip(told.text_offset[1:], told.tokens[1:], strict=True)]
        for own, text, top in list(zip(told.token_logprobs, told.tokens, told.top_logprobs, strict=True))[1:]:
            assert max(top.values()) >= own == top[text]


def test_without_echo_the_written_tokens_alone_are_told(client, base):
    answer = complete(client, base, TEXT, logprobs=2).choices[0]
    assert "".join(answer.logprobs.tokens) == answer.text and len(answer.logprobs.tokens) == 8
    told = zip(answer.logprobs.token_logprobs, answer.logprobs.top_logprobs, strict=True)
    assert all(own == max(top.values()) for own, top in told)


def test_a_stream_of_a_completion_has_the_same_words(client, base):
    whole = complete(client, base, TEXT, echo=True)
    pieces = list(complete(client, base, TEXT, echo=True, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.choices[0].text for one in pieces[:-1]) == whole.choices[0].text and len(pieces) > 4
    assert pieces[-1].usage.total_tokens == whole.usage.total_tokens


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"best_of": 3}, "best_of", "can only be 1"),
        ({"suffix": "end"}, "suffix", "can only be"),
        ({"logprobs": 6}, "logprobs", "between 0 and 5"),
        ({"max_tokens": 0}, "max_tokens", "only with echo"),
        ({"max_tokens": -1}, "max_tokens", "between 1"),
        ({"logprobs": 1, "stream": True}, "logprobs", "cannot be streamed"),
        ({"prompt": []}, "prompt", "Between 1 and"),
        ({"prompt": ["x"] * 65}, "prompt", "Between 1 and"),
        ({"prompt": ["x", 1]}, "prompt", "token ids"),
        ({"prompt": [[1, "x"]]}, "prompt", "token ids"),
        ({"prompt": [[1, True]]}, "prompt", "token ids"),
        ({"prompt": {"x": 1}}, "prompt", "cannot be"),
        ({"prompt": "x" * 100_001}, "prompt", "100,000 characters"),
        ({"prompt": [[1] * 100_001]}, "prompt", "100,000 tokens"),
        ({"prompt": [-1]}, None, "0 to 31,999"),
        ({"prompt": [[]]}, None, "empty"),
        ({"prompt": [5] * 250}, None, "the model reads 256"),
    ],
)
def test_what_cannot_be_completed_is_a_sentence(client, base, options, param, words):
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        complete(client, base, **{"prompt": TEXT, **options})
    assert refused.value.param == param


def test_control_tokens_in_a_text_are_text_and_as_ids_are_what_they_are(client, base, tinyllama_tokenizer):
    def tokens(prompt):
        return complete(client, base, prompt, max_tokens=0, echo=True, logprobs=0).choices[0].logprobs.tokens

    assert "</s>" not in tokens("a</s>") and len(tokens("a</s>")) > 3
    assert tokens([1, 2, 450]) == ["<s>", "</s>", "The"]


# lm-eval


@pytest.mark.parametrize("request_", RECORDED, ids=["generate", "score", "score a batch"])
def test_the_requests_of_lm_eval_are_answered_as_it_reads_them(server, base, request_):
    """Its reading of an answer: the scores from the end of the context on, without the one of the token that was written."""
    headers = {"Authorization": f"Bearer {new_key('local')}"}
    answer = httpx.post(
        f"{server.url}/v1/completions", json=request_ | {"model": base}, headers=headers, timeout=60
    ).json()
    choices = sorted(answer["choices"], key=lambda one: one["index"])
    assert len(choices) == len(request_["prompt"])
    for prompt, choice in zip(request_["prompt"], choices, strict=True):
        assert isinstance(choice["text"], str)
        if "echo" in request_:
            told = choice["logprobs"]
            assert len(told["token_logprobs"]) == len(told["top_logprobs"]) == len(prompt) + 1
            scored = list(zip(told["token_logprobs"], told["top_logprobs"], strict=True))[1:-1]
            assert all(max(top.values()) >= own for own, top in scored)


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed: pip install 'lm-eval[api]'")
@pytest.mark.skipif(find_spec("tenacity") is None, reason="lm-eval has no API models: pip install 'lm-eval[api]'")
def test_lm_eval_itself_finds_what_an_evaluation_finds(server, base, tiny_base, monkeypatch):
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    monkeypatch.setenv("OPENAI_API_KEY", new_key("local"))
    address = f"{server.url}/v1/completions"
    asking = LocalCompletionsAPI(
        model=base, base_url=address, tokenizer_backend="huggingface", tokenizer=str(TOKENIZER)
    )
    request = Instance("loglikelihood_rolling", {}, (TEXT,), 0)
    (found,) = asking.loglikelihood_rolling([request], disable_tqdm=True)
    (wanted,) = text_losses(
        Engine().resident, Model(tiny_base, "fp32"), [{"number": 0, "text": TEXT}], threading.Event()
    )
    assert -found == pytest.approx(wanted["loss"], rel=1e-4)
    choices = [
        Instance("loglikelihood", {}, ("The llama", choice), number)
        for number, choice in enumerate((" walks", " flies"))
    ]
    scores = asking.loglikelihood(choices, disable_tqdm=True)
    assert len(scores) == 2 and all(score < 0 for score, _is_greedy in scores)
