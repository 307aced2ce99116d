"""An experiment as a zip, with which a stranger makes every cell of it again, and whether those came out the same.

<id>/README.md         what it is, and the two commands
     experiment.yaml   the settings: every arm by itself, with the learning rates that were found
     data/             the split: split.json, and the rows of each part
     asked/            what every cell is asked: versions.json, and items/
     entries.json      the scores of each arm, with their intervals
     versions.json     packages, system, hardware
     results/          the table and the methods paragraph

experiment = rerun(file, owner)             the same arms, seeds, rows and questions, started anew
checks = check_against(file, experiment)    every cell beside its interval in the bundle
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from common.errors import UserError
from common.files import sweep
from common.language import ENGLISH, Sentence, _, english, language, packed
from common.paths import LOCAL_OWNER, MAX_TITLE_CHARACTERS, experiments_folder
from data.test_sets import BUNDLED
from evaluation.experiments.arms import arms_of
from evaluation.experiments.config import ExperimentConfig, Scalar
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.opening import DATA, ENTRIES, ITEMS, SETTINGS, SPLIT, VERSIONS, damaged, opened
from evaluation.experiments.start import check_kept, check_turn, start
from evaluation.experiments.table import Entry, read_entries
from models.hardware import describe_hardware
from runs.bundle import in_json, system, write_zip
from runs.disk import check_room_on_disk
from runs.redact import redact

RESULT_ENDINGS = (".md", ".csv", ".tex", ".bib")
OF_OWN_DATA = ("data", "text_data")  # settings that name rows
MAX_ENTRIES_BYTES = 20_000_000  # 64 arms and 1,000 cells, 12 scores on 16 test sets
UNPACKED = ".bundle-"  # what the folder of one that is being started begins with
TOLERANCE = 1e-9  # of a score, for what is written and read again
README = """# {title}

An experiment of TinyLlama Studio (arms: {arms}, seeds: {seeds}). Its scores are in entries.json and results/.

To run it again: install TinyLlama Studio with the packages of versions.json, and in its folder

    python -m evaluation.experiments rerun {file}
    python -m evaluation.experiments verify {file} NAME

The first command prints the NAME of the new experiment. The second one says of each cell whether it lies inside the interval
that is kept here; with the same versions on the same machine all are equal. Every arm is trained with the learning rate that
was found for it: nothing is searched again.
{data}"""
WITHOUT_DATA = (
    "\nThe rows are not in here, so only their owner can run it again; data/split.json has their fingerprints.\n"
)


def write_bundle(experiment: Experiment, destination: Path, include_data: bool = True) -> Path:
    """Write `<id>.zip`, in English, into the folder `destination`; returns the file. Raises UserError while there is no score."""
    split, entries = experiment.known_split(), read_entries(experiment)
    if not entries:
        words = _("No cell of '{name}' is evaluated yet.", name=experiment.id)
        raise UserError(words, _("Wait for the first one, or resume it."))
    names = _public_names([*split["train"], *split["texts"]])
    config, ids = _public_config(experiment, names)
    texts = {names[data]: rows for data, rows in split["texts"].items()}
    public = split | {"train": {names[data]: rows for data, rows in split["train"].items()}, "texts": texts}
    made_with = {
        "packages": experiment.asked.known()["packages"],
        "platform": system(),
        "hardware": english(describe_hardware()),
    }
    with language(ENGLISH):
        contents: dict[str, str | bytes | Path] = {
            "README.md": README.format(
                title=config.title,
                arms=len(config.arms),
                seeds=len(config.seeds),
                file=f"{experiment.id}.zip",
                data="" if include_data else WITHOUT_DATA,
            ),
            SETTINGS: config.to_yaml(),
            SPLIT: in_json(packed(public)),
            VERSIONS: in_json(packed(experiment.asked.known())),
            ENTRIES: in_json([asdict(replace(entry, arm=ids[entry.arm])) for entry in entries]),
            "versions.json": in_json(made_with),
        }
    for file in sorted(experiment.results_folder.glob("*.*")):
        if file.suffix in RESULT_ENDINGS:
            contents[f"results/{file.name}"] = file.read_text(encoding="utf-8")
    if include_data:
        folders = ((DATA, experiment.data_folder), (ITEMS, experiment.items_folder))
        contents |= {
            f"{place}/{file.name}": file for place, folder in folders for file in sorted(folder.glob("*.jsonl"))
        }
    return write_zip(destination, experiment.id, contents)


def _public_names(places: Iterable[str]) -> dict[str, str]:
    """Return for each name of rows one that tells no path of this machine, no two alike."""
    found: dict[str, str] = {}
    for place in places:
        name = redact(place)
        found[place] = name if name not in found.values() else f"{len(found)}-{name}"
    return found


def _public_config(experiment: Experiment, names: Mapping[str, str]) -> tuple[ExperimentConfig, dict[str, str]]:
    """Return the settings with every arm written by itself, no path of this machine, and the rates that were found.

    And the id of each arm in these settings by its id in the experiment.
    """
    config = experiment.config()
    arms, own = [], arms_of(config)
    for arm in own:
        settings: dict[str, Scalar] = {"name": arm.name, "method": arm.method, **arm.settings}
        for name in OF_OWN_DATA:
            if settings.get(name):
                settings[name] = names[str(settings[name])]
        if "test_sets" in settings:  # measured while it learns; who runs it again has only these
            wanted = (name.strip() for name in str(settings["test_sets"]).split(","))
            settings["test_sets"] = ", ".join(name for name in wanted if name in BUNDLED)
        arms.append(settings)
    of_base = {name: config.settings[name] for name in ("base", "base_revision") if name in config.settings}
    plain = replace(config, settings=of_base, vary={}, arms=arms, found_rates={}, parallel=0)
    public = ExperimentConfig.from_text(redact(plain.to_yaml()))
    ids = {before.id: arm.id for before, arm in zip(own, arms_of(public), strict=True)}
    rates = {arm: search.get("chosen") for arm, search in experiment.searches().items()} | config.found_rates
    return replace(public, found_rates={ids[arm]: rate for arm, rate in rates.items() if arm in ids and rate}), ids


def open_bundle(file: Path) -> ExperimentConfig:
    """Return the settings of a bundle. Raises UserError when it is none."""
    with opened(file) as bundle:
        return bundle.settings()


def rerun(file: Path, owner: str = LOCAL_OWNER) -> Experiment:
    """Start the experiment of a bundle anew, on its rows and questions. Raises UserError, leaving nothing."""
    root = experiments_folder(owner)
    root.mkdir(parents=True, exist_ok=True)
    sweep(*root.glob(f"{UNPACKED}*"))
    folder = Path(mkdtemp(prefix=UNPACKED, dir=root))
    try:
        with opened(file) as bundle:
            config = bundle.settings()
            check_turn(owner)  # before gigabytes are written; again at the start
            check_kept(owner, config)
            check_room_on_disk(owner, bundle.rows_bytes())
            bundle.unpack(config, folder)
        return start(config, owner, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class CellCheck:
    """A score of an arm in a bundle, with its interval, and what came out `again`: None where that is not there yet."""

    arm: str
    test_set: str
    score: str
    kept: float
    low: float
    high: float
    again: float | None
    is_equal: bool  # each seed by itself, to the last digit

    @property
    def is_inside(self) -> bool:
        """Whether the new score lies inside the interval that was kept."""
        return self.again is not None and self.low - TOLERANCE <= self.again <= self.high + TOLERANCE

    @property
    def word(self) -> Sentence:
        """What is said of the new score."""
        if self.again is None:
            return _("not there")
        return _("equal") if self.is_equal else _("inside") if self.is_inside else _("outside")


def check_against(file: Path, experiment: Experiment) -> list[CellCheck]:
    """Return each score of a bundle beside the one of an experiment that was made from it. Raises UserError."""
    with opened(file) as bundle:
        found = bundle.json(ENTRIES, MAX_ENTRIES_BYTES)
    try:
        kept = [Entry(**one) for one in found]
        numbers, texts = (
            [n for one in kept for n in (one.mean, one.low, one.high)],
            [t for one in kept for t in _key(one)],
        )
        is_short = all(isinstance(t, str) and len(t) <= MAX_TITLE_CHARACTERS for t in texts)
        if not (kept and all(isinstance(n, float) for n in numbers) and is_short):
            raise TypeError(ENTRIES)
    except TypeError as error:
        raise damaged(ENTRIES) from error
    again = {_key(one): one for one in read_entries(experiment)}
    checks = []
    for one in kept:
        new = again.get(_key(one))
        values = (new.mean, new.values == one.values) if new else (None, False)
        checks.append(CellCheck(*_key(one), one.mean, one.low, one.high, *values))
    return checks


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry.arm, entry.test_set, entry.score
