"""Talk to the base or an adapter in a terminal: `python -m chat [--adapter NAME] "your message"`."""

import argparse
import sys

from adapters.pull import open_adapter
from chat.engine import Engine, Model, Sampling
from common.command_line import exit_code
from common.paths import LOCAL_OWNER
from models.base import AUTO, choose_base, fetch_base
from models.hub.client import token_of
from models.messages import Message


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the answers, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chat", description=__doc__)
    parser.add_argument("message", nargs="+", help="what you say; several are said one after the other")
    parser.add_argument("--adapter", help="name of an adapter; without it the base answers")
    parser.add_argument("--base", help="base model: auto, embedded, a Hub id or a folder (an adapter knows its own)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--system", default="", help="system prompt")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    return exit_code(lambda: _talk(options))


def _talk(options: argparse.Namespace) -> None:
    """Answer each message in turn; the model that answers is named on stderr, the answers go to stdout."""
    model = open_model(options.adapter, options.base, options.precision)
    engine = Engine()
    sampling = Sampling(options.max_new_tokens, options.temperature, seed=options.seed)
    messages = [Message(role="system", content=options.system)] if options.system else []
    for message in options.message:
        messages.append(Message(role="user", content=message))
        shown = ""
        for reply in engine.reply(model, messages, sampling, conversation="terminal"):
            print(reply.text[len(shown) :], end="", flush=True)
            shown = reply.text
        print(flush=True)
        messages.append(Message(role="assistant", content=shown))


def open_model(adapter_name: str | None, base_choice: str | None, precision: str) -> Model:
    """Return the model that answers, its base fetched; it is named on stderr. An adapter knows its own base."""
    adapter = open_adapter(adapter_name, LOCAL_OWNER, token_of(None)) if adapter_name else None
    choice = base_choice or (adapter.base_choice if adapter else AUTO)
    base = choose_base(choice, adapter.base_revision if adapter and not base_choice else None)
    print(f"{adapter.name} on {base}" if adapter else f"{base}", file=sys.stderr, flush=True)
    folder = fetch_base(base, lambda what, fraction: print(what, file=sys.stderr, flush=True))
    return Model(folder, precision, adapter.folder if adapter else None)


if __name__ == "__main__":
    sys.exit(main())
