"""What is downloaded of an experiment: its table and figures for a paper, and the bundle that repeats it."""

import shutil
import zipfile
from pathlib import Path

from common.errors import UserError
from common.files import folder_bytes
from common.language import Sentence, _
from common.paths import new_download_folder
from evaluation.experiments.bundle import write_bundle
from evaluation.experiments.experiment import Experiment
from runs.disk import check_room_on_disk

FIGURES, BUNDLE = "figures", "bundle"
FILES: dict[str, Sentence] = {  # in the results folder, with what a button calls them
    "table.tex": _("LaTeX"),
    "table.csv": _("CSV"),
    "table.md": _("Markdown"),
    "comparisons.csv": _("All pairs (CSV)"),
    FIGURES: _("Figures"),
    "methods.md": _("Methods"),
    "references.bib": _("BibTeX"),
    BUNDLE: _("Bundle"),
}


def made_file(experiment: Experiment, wanted: str) -> Path:
    """Return one of FILES in a folder that the page serves; figures are one zip. Raises UserError before it is there."""
    folder = new_download_folder(experiment.owner)
    if wanted == BUNDLE:
        check_room_on_disk(experiment.owner, folder_bytes(experiment.data_folder))
        return write_bundle(experiment, folder)
    source = experiment.results_folder / wanted
    if wanted == FIGURES:
        files = [file for file in sorted(source.glob("*")) if file.is_file()]
        made = folder / f"{experiment.id}-figures.zip"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
        if files:
            return made
    elif source.is_file():
        made = folder / f"{experiment.id}-{source.name}"
        shutil.copyfile(source, made)
        return made
    raise UserError(_("This is not there yet."), _("It is made when the first cell is done."))
