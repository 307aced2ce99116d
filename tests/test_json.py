"""Every command line answers in JSON with --json, errors too, and SKILL.md says how: what it shows is run here."""

import argparse
import importlib
import json
import re
import shlex

import pytest

from common.command_line import add_job, exit_code, give, run_job
from common.errors import UserError
from common.paths import REPOSITORY
from tests.queueing import make_run
from tests.test_architecture import FILES

COMMANDS = ("trainer", "data", "adapters", "chat", "evaluation", "evaluation.experiments", "jobs", "serving")
# modules that are run and have no --json, and why
OTHERS = {
    "app": "a server",
    "ui.words": "for those who translate: reports of files that are committed",
    "examples.make_notebook": "for those who write the notebook",
    "examples.packages": "what a notebook runs first, before there are packages",
    "examples.demo": "a show for people, of commands that have it",
    "models.embedded": "makes the built-in base, and prints nothing that is used",
    "jobs.inside": "inside a job: prints events as JSON lines already",
    "jobs.space": "asks a person before it sends anything",
    "trainer.train": "the training process: its events are JSON lines",
}
# started by the app alone
PROCESSES = re.compile(r"(process|calibrate|fetch|foreign|try_tokenizer|check|dashboard|mix|repair)$")


def parsers_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser, or those of its jobs, and of theirs."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [one for job in action.choices.values() for one in parsers_of(job)]
    return found if found and not parser.get_default("work") else [parser, *found]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_job_has_json(name, monkeypatch):
    seen = []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda parser, *given: seen.append(parser) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        importlib.import_module(f"{name}.__main__").main([])
    jobs = parsers_of(seen[0])
    assert len(jobs) >= {"chat": 1, "serving": 3}.get(name, 8)
    assert not [job.prog for job in jobs if "--json" not in job._option_string_actions]


def test_every_command_line_of_the_house_is_known():
    run = [file for file in (*FILES, *REPOSITORY.glob("*.py")) if 'if __name__ == "__main__"' in file.read_text()]
    names = {".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__main__") for file in run}
    assert {name for name in names if not PROCESSES.search(name)} == {*COMMANDS, *OTHERS}


def _parser(work):
    parser = argparse.ArgumentParser(prog="one")
    add_job(parser.add_subparsers(required=True), "do", work, "does it")
    return lambda: parser


def fails(options):
    raise UserError("No file.", "Give one.")


def answers(options):
    print("words")
    give({"path": REPOSITORY, "loss": float("nan"), "sets": ({"a": 1},)})
    return 3


@pytest.mark.parametrize(
    ("work", "arguments", "code", "answer"),
    [
        (fails, ["do"], 1, {"error": {"message": "No file.", "hint": "Give one."}, "exit_code": 1}),
        (answers, ["do"], 3, {"path": str(REPOSITORY), "loss": None, "sets": [{"a": 1}]}),
        (lambda options: print("It stops."), ["do"], 0, {"message": "It stops."}),
        (answers, ["do", "--nix"], 2, None),
    ],
)
def test_stdout_is_one_json_value_and_the_exit_code_is_the_same(work, arguments, code, answer, capsys):
    assert run_job(_parser(work), [*arguments, "--json"]) == code
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found == answer if answer else found["exit_code"] == 2 and "--nix" in found["error"]["message"]
    assert ("words" in printed.err) == (work is answers and code == 3)


def test_without_json_nothing_is_given(capsys):
    assert run_job(_parser(answers), ["do"]) == 3 and capsys.readouterr().out == "words\n"
    assert exit_code(lambda: give({"a": 1})) == 0 and capsys.readouterr().out == ""


def test_several_answers_are_a_line_each(capsys):
    exit_code(lambda: [give({"n": n}, is_line=True) for n in (1, 2)] and None, as_json=True)
    assert capsys.readouterr().out == '{"n": 1}\n{"n": 2}\n'


def test_the_lists_of_an_empty_home_are_empty_and_no_words(capsys):
    for name in ("trainer", "data", "adapters", "evaluation", "evaluation.experiments"):
        assert importlib.import_module(f"{name}.__main__").main(["list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []


def skill() -> str:
    return (REPOSITORY / "SKILL.md").read_text(encoding="utf-8")


def test_the_skill_has_a_name_and_a_description_as_assistants_look_for():
    head = re.match(r"---\nname: ([a-z0-9-]{1,64})\ndescription: (.{20,1024})\n---\n", skill())
    assert head and len(skill().splitlines()) < 200


@pytest.mark.parametrize("line", re.findall(r"^python -m .+?(?=\s+#|$)", skill(), re.MULTILINE))
def test_the_commands_of_the_skill_can_be_run(line, monkeypatch, capsys):
    """Each is parsed by the real parser, up to the work itself."""
    _python, _flag, name, *arguments = shlex.split(line)
    module = importlib.import_module(f"{name}.__main__")
    done = []
    if name == "chat":
        monkeypatch.setattr(module, "_talk", done.append)
    else:
        parse = argparse.ArgumentParser.parse_args

        def parsed(parser, given):
            options = parse(parser, given)
            options.work = done.append
            return options

        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    assert module.main(arguments) == 0 and len(done) == 1, capsys.readouterr().err
    assert "--json" in arguments and done[0].json


def test_the_fields_that_the_skill_names_are_those_of_a_run(capsys):
    from runs.run import EventLog
    from trainer.__main__ import main

    events = EventLog(make_run("mine"))
    events.write("step", step=3, loss=1.25, total_steps=9)
    events.write("done", metrics={"loss_after": 1.5}, adapter="mine")
    assert main(["show", "mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["step"], shown["loss"], shown["adapter"]) == ("done", 3, 1.25, "mine")
    named = re.search(r"A run is\s+`\{(.+?)\}`", skill(), re.DOTALL)
    assert named and {one.strip() for one in named[1].split(",")} <= {*shown}
