"""Talk to the base or an adapter in a terminal: `python -m chat [--adapter NAME] "your message"`."""

import argparse
import sys
from dataclasses import replace

from adapters.pull import open_adapter
from chat.engine import Engine, Model
from chat.sampling import BALANCED, REPEATABLE
from common.command_line import add_json, asks_for_json, exit_code, give
from common.language import _
from common.paths import LOCAL_OWNER
from models.base import AUTO, choose_base, fetch_base
from models.hub.client import token_of
from models.messages import Message
from models.precision import PRECISIONS


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the answers, and return the exit code."""
    return exit_code(lambda: _talk(_options(arguments)), asks_for_json(arguments))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m chat", description=_("Talk to a base model or an adapter."))
    parser.add_argument("message", nargs="+", help=_("what you say; several messages are sent one after the other"))
    parser.add_argument("--adapter", help=_("name of an adapter; without it the base model answers"))
    parser.add_argument(
        "--base", help=_("base model: auto, embedded, a Hugging Face ID or a folder (an adapter knows its own)")
    )
    parser.add_argument(
        "--precision", default="auto", help=_("precision of the base model: {names}", names=", ".join(PRECISIONS))
    )
    parser.add_argument("--system", default="", help=_("system prompt"))
    parser.add_argument(
        "--max-new-tokens", type=int, default=BALANCED.max_new_tokens, help=_("longest answer in tokens")
    )
    parser.add_argument("--temperature", type=float, help=_("0: always the likeliest token; higher: more varied"))
    parser.add_argument("--seed", type=int, default=0, help=_("the same seed and settings give the same answer"))
    parser.add_argument(
        "--repeatable", action="store_true", help=_("the likeliest token each time, no penalty: to compare and measure")
    )
    add_json(parser)
    return parser.parse_args(arguments)


def _talk(options: argparse.Namespace) -> None:
    """Answer each message in turn; the model that answers is named on stderr, the answers go to stdout."""
    model = open_model(options.adapter, options.base, options.precision)
    engine = Engine()
    named = REPEATABLE if options.repeatable else BALANCED
    temperature = named.temperature if options.temperature is None else options.temperature
    sampling = replace(named, max_new_tokens=options.max_new_tokens, temperature=temperature, seed=options.seed)
    messages = [Message(role="system", content=options.system)] if options.system else []
    for message in options.message:
        messages.append(Message(role="user", content=message))
        shown, reply = "", None
        for reply in engine.reply(model, messages, sampling, conversation="terminal"):
            print(reply.text[len(shown) :], end="", flush=True)
            shown = reply.text
        print(flush=True)
        if reply and reply.is_repeating:
            print(_("Stopped: the answer began to repeat itself."), file=sys.stderr, flush=True)
        messages.append(Message(role="assistant", content=shown))
    give({"messages": messages})


def open_model(adapter_name: str | None, base_choice: str | None, precision: str) -> Model:
    """Return the model that answers, its base fetched; it is named on stderr. An adapter knows its own base."""
    adapter = open_adapter(adapter_name, LOCAL_OWNER, token_of(None)) if adapter_name else None
    choice = base_choice or (adapter.base_choice if adapter else AUTO)
    base = choose_base(choice, adapter.base_revision if adapter and not base_choice else None)
    name = _("{adapter} on {base}", adapter=adapter.name, base=str(base)) if adapter else str(base)
    print(name, file=sys.stderr, flush=True)
    folder = fetch_base(base, lambda what, fraction: print(what, file=sys.stderr, flush=True))
    return Model(folder, precision, adapter.folder if adapter else None)


if __name__ == "__main__":
    sys.exit(main())
