"""Starts and resumes made sets. Light: no torch; all that takes long is done in a process of its own.

Who may ask whom is decided here. A server is the operator's (`CHAT_SERVER_URL`); only on one's own machine may another one be
named, for the app would call any address for a visitor. Inference Providers get the token of who asks, never the machine's.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

from adapters.library import find_adapter
from adapters.pull import open_adapter
from chat.remote import RemoteEngine, adapter_behind
from chat.sampling import Sampling
from common.errors import UserError
from common.files import exists
from common.hosted import on_space
from common.language import _, n_
from common.limits import limit
from common.mix import with_whole_paths
from common.paths import LOCAL_OWNER, as_title, making_folder
from evaluation.background import check_turn, has_ended, make_and_start, start_process
from making.config import ADAPTER, LOCAL, PROVIDER, SERVER, MakingConfig
from making.made import MadeSet, all_made, list_made
from making.recipes import recipe_problem
from making.teacher import Secret
from models.base import AUTO, choose_base
from models.hub.client import Token
from models.hub.errors import sign_in_words
from runs.disk import check_room_on_disk
from runs.fields import short
from runs.limits import limits
from runs.queue import lock

ROW_BYTES = 10_000  # of a row with its passage, its prompt and its answer
MAX_KEY_CHARACTERS = 4_000


def start(config: MakingConfig, owner: str = LOCAL_OWNER, token: Token = False, key: str | None = None) -> MadeSet:
    """Make a made set's folder, start its process, and return at once. Raises UserError, leaving nothing.

    `token` is the owner's for the Hub, `key` one for a server or a provider: in no file, and asked for again by a resume.
    """
    config = resolve(config, owner)
    secret = _secret(config, owner, token, key)
    most, kept = limit("STUDIO_MAX_KEPT_MADE_SETS", 20), len(list_made(owner))
    if most and kept >= most:
        words = n_(
            "You have {count} made set; at most {limit} are allowed here.",
            "You have {count} made sets; at most {limit} are allowed here.",
            kept,
            limit=most,
        )
        raise UserError(words, _("Delete old made sets."))
    check_room_on_disk(owner, config.rows * ROW_BYTES)
    root, settings = making_folder(owner), config.to_yaml()
    return make_and_start(MadeSet, root, config.title, settings, lambda: _check_turn(owner), secret=json.dumps(secret))


def resume(made: MadeSet, token: Token = False, key: str | None = None) -> None:
    """Ask for the rows that are missing, and return at once; `token` and `key` as in `start`. Raises UserError while it runs."""
    config = made.config()
    _check_teacher(config, made.owner)
    secret = _secret(config, made.owner, token, key)
    with lock():
        if not has_ended(made):
            raise UserError(_("'{name}' is already running.", name=made.id))
        check_room_on_disk(made.owner, config.rows * ROW_BYTES)
        _check_turn(made.owner)
        start_process(made, json.dumps(secret))


def resolve(config: MakingConfig, owner: str = LOCAL_OWNER) -> MakingConfig:
    """Check what rows are made from and by whom, and name the teacher's model. Raises UserError."""
    config.check()
    if problem := recipe_problem(config):
        raise UserError(problem)
    if missing := next((name for name in config.documents if not exists(name)), ""):
        raise UserError(_("There is no document '{name}'.", name=short(Path(missing).name)))
    most = limits().rows
    if most and config.rows > most:
        words = _("{value:,} is too high; the maximum on this machine is {limit:,}.", value=config.rows, limit=most)
        raise UserError(_("{setting}: {problem}", setting="rows", problem=words))
    model = _check_teacher(config, owner)
    # no topic is looked up as a file: a title would tell a visitor whether there is one
    stems = [*(Path(one).stem for one in config.documents), *config.topics, Path(config.seed_rows).stem]
    return replace(
        config,
        model=model,
        title=config.title or as_title(stems[0]) or config.recipe,
        documents=[str(Path(one).resolve()) for one in config.documents],
        seed_rows=with_whole_paths(config.seed_rows) if config.seed_rows else "",
    )


def _check_teacher(config: MakingConfig, owner: str) -> str:
    """Return the teacher's model. Raises UserError when there is no such teacher here."""
    if config.server and (on_space() or owner != LOCAL_OWNER or config.teacher != SERVER):
        raise UserError(
            _("The address of a server can only be named by the owner of this machine."),
            _("Choose one of the teachers that are listed."),
        )
    if config.teacher == LOCAL:
        Sampling(config.max_new_tokens, config.temperature).check()
        if config.model.startswith(ADAPTER):
            return f"{ADAPTER}{find_adapter(config.model.removeprefix(ADAPTER), owner).name}"
        return choose_base(config.model or AUTO).choice
    if config.teacher == SERVER and not config.server:
        _server()
    if config.model and adapter_behind(config.model):
        raise UserError(_("An adapter on the server is its owner's alone."), _("Choose one of its models."))
    if config.model:
        return config.model
    if config.teacher.startswith(PROVIDER):
        raise UserError(_("Name the model that is to be asked, as owner/name on the Hub."))
    names = server_models(config.server)
    if len(names) != 1:
        words = _("The server does not answer.") if not names else _("Choose one of its models.")
        raise UserError(words, ", ".join(names[:20]) or _("Is it running, and is its address right?"))
    return names[0]


def server_models(server: str = "") -> list[str]:
    """Return the names of the models of the operator's server, or of another one; [] while it does not answer.

    Without the adapters that the app put there. Raises UserError where there is no server.
    """
    engine = RemoteEngine(server or _server(), os.environ.get("CHAT_SERVER_TOKEN", "") if not server else "")
    return [name for name in engine.models() if not adapter_behind(name)]


def _server() -> str:
    """Return the address of the operator's server. Raises UserError where there is none."""
    if url := os.environ.get("CHAT_SERVER_URL", "").strip():
        return url
    raise UserError(
        _("There is no server that could be a teacher."),
        _("Set CHAT_SERVER_URL to one that speaks OpenAI's interface, or choose another teacher."),
    )


def _secret(config: MakingConfig, owner: str, token: Token, key: str | None) -> Secret:
    """Return what the process is told to be let in with.

    Raises UserError for a provider without a token, and for an adapter that its owner may not read any more.
    """
    key = (key or "").strip()
    if len(key) > MAX_KEY_CHARACTERS or not key.isprintable() or not key.isascii():
        raise UserError(_("This is not a key."))
    if config.teacher == SERVER:
        operators = "" if config.server else os.environ.get("CHAT_SERVER_TOKEN", "")
        return Secret(url="" if config.server else _server(), key=key or operators)
    if config.teacher == LOCAL:
        if config.model.startswith(ADAPTER):
            open_adapter(config.model.removeprefix(ADAPTER), owner, token)
        return Secret(url="", key="")
    key = key or (token if isinstance(token, str) else "")
    if not key:
        raise UserError(_("Inference Providers answer only to a Hugging Face account."), sign_in_words())
    return Secret(url="", key=key)


def _check_turn(owner: str) -> None:
    """Raise UserError when `owner` has to wait: STUDIO_MAX_MADE_SETS_PER_USER."""
    check_turn(
        owner,
        all_made,
        MadeSet,
        limit("STUDIO_MAX_MADE_SETS_PER_USER", 1),
        lambda count: n_(
            "{count} made set is under way here, the maximum.",
            "{count} made sets are under way here, the maximum.",
            count,
        ),
        lambda most: n_(
            "{limit} made set of yours is under way, the maximum here.",
            "{limit} made sets of yours are under way, the maximum here.",
            most,
            limit=most,
        ),
        _("A made set of another guest is under way; guests take turns here."),
    )
