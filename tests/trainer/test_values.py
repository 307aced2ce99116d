"""A value is converted or refused with its field's name; text that no file can hold is a problem."""

import pytest

from common.errors import UserError
from trainer.config import TrainConfig


@pytest.mark.parametrize(
    "value",
    [True, [1], {"a": 1}, b"1", "ten", "", 10**5000, "9" * 5000, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_whole_number_is_refused_in_few_words(value):
    with pytest.raises(UserError, match="lora_r: ") as error:
        TrainConfig.from_dict({"lora_r": value})
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", ["a\x00b", "a\x1b[31m", "\ud800", "line\nbreak", "x" * 1001])
def test_a_text_that_cannot_be_a_name_is_a_problem(value):
    assert [problem.field for problem in TrainConfig(name=value).problems()] == ["name"]


def test_prompts_may_have_lines_and_any_letters():
    assert TrainConfig(sample_prompts="왜?\n\tAnd \u200d👩‍🚀?\r\n").problems() == []
    assert TrainConfig(sample_prompts="a" * 20_001).problems()


def test_deep_columns_are_a_problem():
    assert [problem.field for problem in TrainConfig(columns='{"a":' * 3000).problems()] == ["columns"]
