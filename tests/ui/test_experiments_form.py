"""The form of the Experiments tab: what it says of a config, and the config that it makes."""

import pytest

from common.errors import UserError
from evaluation.experiments.arms import arms_of
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.notes import NOTES
from ui.experiments.form import NAMES, check_named_by, form_updates, form_values, numbers, with_form
from ui.owner import Visitor

READY = [made for note in NOTES if (made := note.config({}))]
PLAIN = ExperimentConfig("Mine", {"base": "embedded"}, {"method": ["none", "lora", "full"]})
BOB = Visitor("user-bob")
VARIED = ExperimentConfig(vary={"method": ["lora"], "precision": ["fp32", "bf16"]})


def with_changes(config: ExperimentConfig, **changes) -> ExperimentConfig:
    return with_form(config, *(form_values(config) | changes).values())


@pytest.mark.parametrize("config", [ExperimentConfig(arms=[{"method": "lora"}]), PLAIN, VARIED, *READY])
def test_the_inputs_of_a_config_make_the_same_config(config):
    config = ExperimentConfig.from_text(config.to_yaml())  # as it stands on the page
    assert tuple(form_values(config)) == NAMES and with_changes(config) == config


def test_methods_with_their_values_are_arms_and_rows_multiply_the_trained_ones():
    changes = {
        "methods": ["full", "few-shot", "last-n", "lora"],
        "lora_r": "4, 16",
        "last_layers": "2",
        "max_rows": "10 0",
    }
    config = with_changes(PLAIN, **changes)
    assert [arm.name for arm in arms_of(config)] == [
        *("LoRA r4, 10 rows", "LoRA r4, all rows", "LoRA r16, 10 rows", "LoRA r16, all rows"),
        *(
            "Last 2 layers, 10 rows",
            "Last 2 layers, all rows",
            "Full tuning, 10 rows",
            "Full tuning, all rows",
            "Few-shot",
        ),
    ]
    assert form_values(config) | {"methods": None} == form_values(PLAIN) | {
        **changes,
        "max_rows": "10, 0",
        "methods": None,
    }


def test_what_the_form_does_not_say_stays_and_new_rates_are_searched_anew():
    config = ExperimentConfig(
        settings={"max_length": 256}, vary={"method": ["lora"], "precision": ["fp32", "bf16"]}, found_rates={"x": 1e-3}
    )
    changed = with_changes(config, title="Other", seeds="4, 5", num_train_epochs=1, test_sets=["general"], max_items=9)
    assert changed.vary == config.vary and changed.found_rates == {"x": 1e-3} and changed.seeds == [4, 5]
    assert changed.settings == {"max_length": 256, "num_train_epochs": 1.0}
    assert (changed.title, changed.test_sets, changed.max_items) == ("Other", ["general"], 9)
    assert with_changes(config, rates="1e-4; 3e-4").rates == [1e-4, 3e-4]
    assert with_changes(config, rates="1e-4").found_rates == {}


@pytest.mark.parametrize(("config", "can_say"), [(PLAIN, True), (VARIED, False)])
def test_arms_that_the_inputs_cannot_say_are_changed_in_the_yaml_alone(config, can_say):
    updates = form_updates("local", config)
    assert [one["interactive"] for one in updates[:4]] == [can_say] * 4
    assert ("change them in the YAML" in updates[-1]) != can_say


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": []}, "No method is chosen"),
        ({"methods": {"a": 1}}, "No method is chosen"),
        ({"methods": ["lora"], "lora_r": ""}, "Enter a value"),
        ({"max_rows": "1,000"}, "Write 1000, not 1,000"),
        ({"seeds": "1, x"}, "Seeds: 'x' is not a number"),
        ({"seeds": " ".join(map(str, range(21)))}, "At most 20 values"),
        ({"max_items": [1]}, "max_items"),
        ({"num_train_epochs": None}, "Epochs: 'None' is not a number"),
        ({"title": 10**90}, "too large"),
    ],
)
def test_what_is_no_experiment_is_a_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        with_changes(PLAIN, **changes)


def test_numbers_stand_between_commas_or_spaces():
    assert numbers("seeds", " 1,2; 3  4 ", int) == [1, 2, 3, 4] and numbers("rates", "1e-4,0.001", float) == [
        1e-4,
        1e-3,
    ]
    assert numbers("seeds", None, int) == numbers("seeds", ["1"], int) == []


@pytest.mark.parametrize(
    "config",
    [
        ExperimentConfig(settings={"data": "/etc/passwd"}, arms=[{"method": "none"}]),
        ExperimentConfig(vary={"method": ["lora"], "data": ["example", "/etc/passwd"]}),
        ExperimentConfig(arms=[{"method": "lora", "text_data": "../user-alice/x.txt"}]),
        ExperimentConfig(arms=[{"method": "lora", "data": "example:0.5, /etc/passwd:0.5"}]),
        ExperimentConfig(arms=[{"method": "lora", "base": "/home/user/model"}]),
        ExperimentConfig(settings={"base": "./model"}, arms=[{"method": "none"}]),
        # shared, though no arm has it: the base is looked up and the text counted all the same
        ExperimentConfig(settings={"base": "/home/user/model"}, arms=[{"method": "none", "base": "embedded"}]),
        ExperimentConfig(settings={"text_data": "/etc/passwd"}, arms=[{"method": "none"}]),
        ExperimentConfig(settings={"text_data": "/etc/passwd"}, arms=[{"method": "lora", "text_data": None}]),
    ],
)
def test_on_a_space_a_yaml_names_no_file_and_no_folder_of_the_server(config, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(UserError, match=r"is not the ID of a dataset|is not a model ID"):
        check_named_by(BOB, config)


def test_on_a_space_every_ready_experiment_is_anybodys(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    for config in READY:
        check_named_by(BOB, config)


def test_what_a_bundle_calls_data_is_in_it_and_its_base_is_judged_as_any(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    check_named_by(BOB, ExperimentConfig(arms=[{"method": "lora", "data": "/rows/of/its/author.jsonl"}]), has_rows=True)
    with pytest.raises(UserError, match="is not a model ID"):
        check_named_by(BOB, ExperimentConfig(arms=[{"method": "lora", "base": "/etc"}]), has_rows=True)
