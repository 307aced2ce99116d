"""The files of a push or an export: written anew from the library, without anything private.

The same adapter gives the same bytes, so that a second push of it changes nothing.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from adapters.card import LICENSES, CardFacts, write_card
from adapters.evaluated import Evaluated, decided_words, for_others, read_evaluated, write_evaluated
from adapters.history import History, has_own_prompts, read_history
from adapters.hub_base import on_hub
from adapters.library import CONFIG, METRICS, SETTINGS, WEIGHTS, Adapter
from adapters.result_picture import Result, best_sample, draw_result
from adapters.trust.check import TOKENIZER_FILES, check_adapter
from adapters.trust.scan import scan
from common.files import check_free, sweep, write_json, write_text
from common.language import ENGLISH, Sentence, language

STAGING_PREFIX = ".packing-"
SENT_METRICS = ("base", "base_source", "precision", "step", "total_steps", "rows", "held_out_rows", "trained_tokens")
SENT_METRICS += ("loss_before", "loss_after", "tokens_per_second", "train_seconds", "peak_memory_bytes", "hardware")
SENT_METRICS += ("total_seconds", "num_processes", "created", "versions", "settings", "made")


@dataclass(frozen=True)
class PushOptions:
    """The options of a push. `with_rows` includes sample answers whose prompts are rows of the data."""

    repo_name: str = ""
    private: bool = True
    license: str = ""
    language: str = ""
    with_answers: bool = True
    with_rows: bool = False


def write_package(adapter: Adapter, repo_id: str, options: PushOptions, folder: Path, token: str = "") -> list[str]:
    """Write the files of a push to the empty `folder`, scan them, and return their names. Raises UserError."""
    adapter, hub_base = on_hub(adapter)
    check_adapter(adapter.folder)
    _copy(adapter, folder, (CONFIG, WEIGHTS, *TOKENIZER_FILES))
    if hub_base:
        write_json(folder / CONFIG, adapter.config)
    measured, places = read_evaluated(adapter.folder), [one.place for one in adapter.data_sets()]
    public = _public_datasets([*places, *(one.dataset for one in measured)])
    measured = for_others(measured, public)
    _write_settings(adapter, folder, measured, tells_source=options.private)
    history = read_history(adapter)
    with_answers = options.with_answers and (options.with_rows or has_own_prompts(adapter))
    if picture := _picture(adapter, repo_id.split("/")[1], history, with_answers, decided_words(measured)):
        (folder / "loss.png").write_bytes(picture)
    else:
        _copy(adapter, folder, ("loss.png",))
    facts = CardFacts(
        repo_id=repo_id,
        license=options.license or LICENSES.get(adapter.base, "other"),
        language=options.language or ("en" if places == ["example"] else ""),
        datasets={place: public[place] for place in places if place in public},
        measured=measured,
        with_picture=(folder / "loss.png").exists(),
        with_answers=with_answers,
        has_unseen_base=bool(hub_base and not hub_base.is_same),
    )
    write_text(folder / "README.md", write_card(adapter, history, facts))
    return scan(folder, token)


def export_zip(adapter: Adapter, target: Path) -> Path:
    """Write a zip of the adapter with the settings that a push sends, scanned like one. Returns its path.

    Of a base that is a folder of this machine only the name is included. Raises UserError, also when `target` exists;
    then nothing is written.
    """
    check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(*target.parent.glob(f"{STAGING_PREFIX}*"))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=STAGING_PREFIX) as temporary:
        folder, partial = Path(temporary) / adapter.name, Path(temporary) / "packed.zip"
        folder.mkdir()
        _copy(adapter, folder, (CONFIG, WEIGHTS, *TOKENIZER_FILES, "README.md", "loss.png", "LICENSE"))
        _write_settings(adapter, folder, for_others(read_evaluated(adapter.folder)))
        if Path(adapter.base).is_absolute():
            config = {**adapter.config, "base_model_name_or_path": Path(adapter.base).name}
            write_json(folder / CONFIG, config)
        names = scan(folder)
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # weights do not get smaller
            for name in names:
                archive.write(folder / name, f"{folder.name}/{name}")
        check_free(target)
        partial.rename(target)
    return target


def _picture(
    adapter: Adapter, name: str, history: History, with_answers: bool, decided: Sentence | None
) -> bytes | None:
    """Draw the result of the training, in English; with a sample answer only where the card has them, too."""
    rows = adapter.metric("rows")
    result = Result(
        name=name,
        base=adapter.base.rsplit("/", 1)[-1],
        rows=None if rows is None else round(rows),
        seconds=adapter.seconds,
        loss_before=adapter.loss_before,
        loss_after=adapter.loss_after,
        losses=history.losses,
        eval_losses=history.eval_losses,
        kept_step=history.kept_step,
        decided=decided,
        sample=best_sample(history.answers_before, history.answers_after) if with_answers else None,
    )
    with language(ENGLISH):
        return draw_result(result)


def _copy(adapter: Adapter, folder: Path, names: tuple[str, ...]) -> None:
    """Copy those of the named files that the adapter has."""
    for name in names:
        if (adapter.folder / name).is_file():
            shutil.copyfile(adapter.folder / name, folder / name)


def _write_settings(adapter: Adapter, folder: Path, measured: list[Evaluated], tells_source: bool = True) -> None:
    """Write settings, metrics and scores as they may be published.

    With `tells_source` also the private repositories that it is from.
    """
    if measured:
        write_evaluated(folder, measured)
    config = {one.name: one.value for one in adapter.told_settings()}
    if config:
        write_text(folder / SETTINGS, yaml.safe_dump(config, sort_keys=False))
    metrics = {name: value for name, value in adapter.metrics.items() if name in SENT_METRICS}
    if adapter.title != adapter.name:
        metrics["title"] = adapter.title
    if Path(str(metrics.get("base"))).is_absolute():
        metrics["base"] = Path(metrics["base"]).name
    if tells_source and adapter.private_sources:
        metrics["private_source"] = " ".join(dict.fromkeys(one.repo_id for one in adapter.private_sources))
    if metrics:
        write_json(folder / METRICS, metrics)


def _public_datasets(places: Iterable[str]) -> dict[str, str]:
    """Return the public data sets of the Hub among these places with their licences, "" for an unknown one.

    Those of which that cannot be found out are left out.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    found = {}
    for place in dict.fromkeys(places):
        if place.count("/") != 1 or place.startswith(("data/", ".", "/", "~")):
            continue
        try:
            info = HfApi(token=False).dataset_info(place, timeout=5)
        except (OSError, httpx2.HTTPError, HFValidationError):
            continue
        if not info.private:
            licenses = (info.card_data or {}).get("license") or ""
            found[place] = ", ".join(map(str, licenses)) if isinstance(licenses, list) else str(licenses)
    return found
