"""Splits the data of an experiment once, and keeps what every cell is asked: what is trained on is never asked.

The held-out rows give the scores, the validation rows choose the rates, the rest is trained on. Rows are on one side with their
equals, and what nearly repeats a held-out or validation row is not trained on, in whatever data set it stands. Open text is read
whole: what is asked stands in none of it.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from common.errors import UserError
from common.files import write_json, write_text
from common.language import _, packed
from common.mix import DataShare, as_text
from data.conversations import Conversation
from data.intake import check_bad, prepare, read_texts
from data.near_duplicates import NearTexts, text_of
from data.reading import EXAMPLE_HELD_OUT
from data.sampling import draw as draw_rows
from data.settings import EXAMPLE, DataSettings
from data.split import held_out_of
from data.test_sets import item_of, items_of
from evaluation.asked import MAX_ASKED, check_count, draw, drawn_of, keep, packages
from evaluation.config import EvaluationConfig
from evaluation.experiments.arms import arms_of, data_of
from evaluation.experiments.config import HELD_OUT, ExperimentConfig, Scalar
from evaluation.experiments.experiment import Experiment, Rows, Split
from evaluation.run import Versions
from runs.config import TrainConfig
from runs.disk import check_room_on_disk
from runs.limits import limits
from runs.run import UNFINISHED

MAX_SHOTS = 16
HELD_OUT_FILE, VALIDATION_FILE = f"{HELD_OUT}.jsonl", "validation.jsonl"

Tell = Callable[[str], None]


def prepare_experiment(experiment: Experiment, tell: Tell) -> None:
    """Split the data and keep what is asked, each unless it is there. What `tell` raises ends it. Raises UserError."""
    if experiment.split() is None:
        if experiment.data_folder.exists():  # of a bundle: what its settings call data is nobody's here
            words = _("The split of '{name}' is damaged.", name=experiment.id)
            raise UserError(words, _("Delete the experiment and start it again."))
        partial = experiment.folder / f"data{UNFINISHED}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(partial / "split.json", packed(_split(experiment, partial, tell)))
        partial.rename(experiment.data_folder)
    split = experiment.known_split()
    _fit_rows(experiment, max(rows["rows"] for rows in split["train"].values()))
    if not experiment.versions_file.exists():
        _keep_asked(experiment, split, tell)


class _NotTrained:
    """The rows that no arm may be trained on: it passes rows on, and keeps them or leaves out what nearly repeats one."""

    def __init__(self, tell: Tell) -> None:
        self.index, self.count, self.left_out, self.tell = NearTexts(), 0, 0, tell

    def keep(self, rows: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield the rows, which are not trained on from now on. Raises UserError for more than memory holds."""
        for row in rows:
            self.count += 1
            if self.count > MAX_ASKED:
                words = _("More than {most:,} rows would be held out.", most=MAX_ASKED)
                raise UserError(words, _("Make the test and the validation part smaller, or set max_rows."))
            self.index.add(self.count, text_of(row))
            yield row

    def without(self, rows: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield the rows that repeat none of those that are not trained on."""
        for row in rows:
            self.tell(_("Looking for held-out rows in the training data"))
            if self.index.find(text_of(row)):
                self.left_out += 1
            else:
                yield row


def _split(experiment: Experiment, folder: Path, tell: Tell) -> Split:
    """Write the rows of all data sets and open texts into `folder`.

    Raises UserError when nothing is left on one side, and when there is no room on the disk for one more.
    """
    config = experiment.config()
    tell(_("Reading the data"))
    first, *others = data_of(config)
    settings, not_trained = _settings(config, first, config.test_fraction), _NotTrained(tell)
    prepared = prepare(settings, folder)
    whole, usable = prepared.data.conversations, prepared.train.mask
    notes = check_bad(prepared.bad, len(whole), settings)
    part = config.validation_fraction / (1 - config.test_fraction)
    is_validation = held_out_of(whole, usable, part, config.split_seed)
    held_out = write_rows(folder / HELD_OUT_FILE, not_trained.keep(prepared.held_out))
    validation = write_rows(
        folder / VALIDATION_FILE, not_trained.keep(not_trained.without(whole.part(usable & is_validation)))
    )
    train = {first: write_rows(folder / "train.jsonl", not_trained.without(whole.part(usable & ~is_validation)))}
    for number, data in enumerate(others, 2):
        check_room_on_disk(experiment.owner)
        settings = _settings(config, data, 0.0)
        prepared = prepare(settings, folder)
        notes += check_bad(prepared.bad, len(prepared.data.conversations), settings)
        train[data] = write_rows(folder / f"train-{number}.jsonl", not_trained.without(prepared.train))
    texts: dict[str, Rows] = {}
    for text in dict.fromkeys(
        str(arm.settings["text_data"]) for arm in arms_of(config) if arm.settings.get("text_data")
    ):
        check_room_on_disk(experiment.owner)
        settings = replace(_settings(config, first, 0.0), text_data=text)
        read = read_texts(settings, folder)
        notes += check_bad(read.bad, len(read.conversations), settings)
        texts[text] = write_rows(folder / f"text-{len(texts) + 1}.jsonl", read.conversations.part())
    for rows in (held_out, validation, *train.values()):
        if not rows["rows"]:
            words = _("There are too few rows: nothing is left for {file}.", file=rows["file"])
            raise UserError(words, _("Add more rows, or change the test and the validation part."))
    return Split(
        train=train,
        texts=texts,
        validation=validation,
        held_out=held_out,
        left_out=not_trained.left_out,
        notes=[*notes],
    )


def _settings(config: ExperimentConfig, data: str, held_out: float) -> DataSettings:
    """Return how a data set is read, with this fraction of its rows held out; of the example both files are its rows."""
    line = as_text([DataShare(EXAMPLE), DataShare(str(EXAMPLE_HELD_OUT))]) if data == EXAMPLE else data
    names = DataSettings.__dataclass_fields__
    shared = {name: value for name, value in config.settings.items() if name in names}
    own: dict[str, Scalar] = {"data": line, "text_data": None, "eval_fraction": held_out, "seed": config.split_seed}
    read = TrainConfig.from_dict({**shared, **own})
    return replace(read, max_rows=read.max_rows or limits().rows).data_settings()


def write_rows(file: Path, rows: Iterable[Conversation]) -> Rows:
    """Write rows without their numbers, one a line."""
    digest, count = sha256(), 0
    with open(file, "wb") as lines:
        for row in rows:
            plain = {name: value for name, value in row.items() if name != "row"}
            line = json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            digest.update(line)
            lines.write(line)
            count += 1
    return Rows(file=file.name, rows=count, fingerprint=digest.hexdigest())


def read_rows(file: Path) -> Iterator[Conversation]:
    """Yield the rows of a file of the split."""
    with open(file, "rb") as lines:
        yield from map(json.loads, lines)


def _fit_rows(experiment: Experiment, rows: int) -> None:
    """Change settings that ask for as many rows as there are to train on, or more, to all: an arm of all rows is one arm."""

    def fit(name: str, value: Scalar) -> Scalar:
        is_all = name == "max_rows" and isinstance(value, int) and value >= rows
        return 0 if is_all else value

    def fit_all(settings: dict[str, Scalar]) -> dict[str, Scalar]:
        return {name: fit(name, value) for name, value in settings.items()}

    config = experiment.config()
    vary = {name: list(dict.fromkeys(fit(name, value) for value in values)) for name, values in config.vary.items()}
    fitted = replace(config, settings=fit_all(config.settings), vary=vary, arms=[*map(fit_all, config.arms)])
    if fitted != config:
        write_text(experiment.config_file, fitted.to_yaml())


def _keep_asked(experiment: Experiment, split: Split, tell: Tell) -> None:
    """Draw what is asked of each test set and the few-shot rows, and keep them; versions.json comes last."""
    config, folder, asked = experiment.config(), experiment.data_folder, experiment.asked
    asking = EvaluationConfig(
        test_sets=[name for name in config.test_sets if name != HELD_OUT],
        max_items=config.max_items,
        seed=config.split_seed,
    )
    drawn = draw(asking, experiment.owner, tell)
    if HELD_OUT in config.test_sets:
        drawn[HELD_OUT] = drawn_of(HELD_OUT, asking, _("Held-out rows"), items_of(read_rows(folder / HELD_OUT_FILE)))
        check_count(drawn)
    asked.items_folder.mkdir(parents=True, exist_ok=True)
    train = next(iter(split["train"].values()))
    sample = [
        row
        for number, row in draw_rows(
            read_rows(folder / train["file"]), train["rows"], 2 * MAX_SHOTS, f"{config.split_seed} shots"
        )
    ]
    random.Random(config.split_seed).shuffle(sample)
    shots = [item for item in map(item_of, sample) if item and "messages" in item][:MAX_SHOTS]
    lines = (json.dumps(item, ensure_ascii=False) for item in shots)
    write_text(asked.shots_file, "".join(f"{line}\n" for line in lines))

    def trained_on() -> Iterator[Conversation]:
        for rows in (*split["train"].values(), *split["texts"].values()):
            for row in read_rows(folder / rows["file"]):
                tell(_("Looking for test rows in the training data"))
                yield row

    kept = keep(asked, asking, {name: drawn[name] for name in config.test_sets}, trained_on())
    made: Versions = {
        "base": "",
        "base_revision": "",
        "adapters": {},
        "unknown_data": [],
        "test_sets": kept,
        "packages": packages(),
        "seed": config.split_seed,
    }
    write_json(experiment.versions_file, packed(made))
