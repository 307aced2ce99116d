"""All that an experiment gives to a paper, in its results folder, written anew after each cell: in English, whoever asks.

table.json      entries and comparisons, for the page and scripts
table.tex       booktabs         table.md       Markdown       table.csv, comparisons.csv       all digits
figures/        PDF, SVG, PNG; once no cell is left to do
summary.md      each arm beside the reference, in words
methods.md      the methods paragraph and all settings         references.bib                   what it cites
"""

from common.files import write_text
from common.language import ENGLISH, language
from evaluation.experiments.cells import read_cells
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.figures import write_figures
from evaluation.experiments.methods import cited, methods_text
from evaluation.experiments.paper import comparisons_csv, entries_csv, summary, to_latex, to_markdown
from evaluation.experiments.table import write_table


def write_results(experiment: Experiment) -> None:
    """Write the results of the cells that are done: seconds, most of them for the figures. Not for two threads at once."""
    with language(ENGLISH):
        cells = read_cells(experiment)
        table = write_table(experiment, cells)
        methods = methods_text(experiment, cells, table)
        files = {
            "table.tex": to_latex(table, experiment.id),
            "table.md": to_markdown(table),
            "table.csv": entries_csv(table),
            "comparisons.csv": comparisons_csv(table),
            "summary.md": summary(table),
            "methods.md": methods,
            "references.bib": cited(methods),
        }
        for name, text in files.items():
            write_text(experiment.results_folder / name, text)
        write_figures(experiment, table)
