"""A conversation with a model, in this process."""

from collections.abc import Iterator

from chat.engine import Engine, Model, Reply, Sampling
from models.messages import Message
from studio import drawing


class Chat:
    """One conversation with a model. `messages` may be read, changed and cleared between two turns."""

    def __init__(self, model: Model, system: str = "", sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._model, self._engine = model, Engine()

    def stream(self, message: str) -> Iterator[Reply]:
        """Yield the reply to `message` as it grows. The turn is part of the conversation once it was read to its end."""
        asked: list[Message] = [*self.messages, {"role": "user", "content": message}]
        reply = Reply()
        for reply in self._engine.reply(self._model, asked, self.sampling, conversation="studio"):
            yield reply
        self.messages = [*asked, {"role": "assistant", "content": reply.text}]

    def say(self, message: str) -> str:
        """Return the whole answer to `message`."""
        *_, reply = self.stream(message)
        return reply.text

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        return drawing.conversation_html(self.messages)
