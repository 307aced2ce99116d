"""What is downloaded of an evaluation: its table as CSV, and everything that was answered as JSON lines."""

import csv
import json
from pathlib import Path

from common.files import cell_text
from common.paths import new_download_folder
from evaluation.asked import read_asked
from evaluation.run import Evaluation, candidate_title
from evaluation.table import read_results, read_table

COLUMNS = ("test_set", "score", "candidate", "title", "value", "low", "high", "n")
COLUMNS += ("difference", "difference_low", "difference_high", "p", "verdict", "needed")


def write_csv(evaluation: Evaluation) -> Path:
    """Write the scores as a CSV file: a row for each test set, score and candidate; return its path."""
    made = new_download_folder(evaluation.owner) / f"{evaluation.id}.csv"
    with made.open("w", encoding="utf-8-sig", newline="") as file:  # with its mark Excel reads Korean titles, too
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for line in read_table(evaluation):
            title, value, found = candidate_title(line.candidate, evaluation.owner), line.estimate, line.difference
            difference = (found.value, found.low, found.high, found.p, found.verdict, found.needed) if found else ()
            cells = (
                line.test_set,
                line.score,
                line.candidate,
                cell_text(title),
                value.value,
                value.low,
                value.high,
                value.n,
            )
            writer.writerow([*cells, *difference])
    return made


def write_answers(evaluation: Evaluation) -> Path:
    """Write every question with what each candidate did with it, a JSON object a line; return the file's path."""
    config, made = evaluation.config(), new_download_folder(evaluation.owner) / f"{evaluation.id}.jsonl"
    with made.open("w", encoding="utf-8", errors="replace") as file:
        for test_set in evaluation.known()["test_sets"]:
            items = read_asked(evaluation, test_set).items
            for candidate in config.candidates:
                results = read_results(evaluation, test_set, candidate)
                for item in items:
                    if result := results.get(item["number"]):
                        line = {"test_set": test_set, "candidate": candidate, **item, "result": result}
                        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return made
