"""Stand-ins that obey the interfaces of the real parts."""


class FakeTokenizer:
    """One token a word: enough to count."""

    eos_token_id = 0

    def count(self, messages: list[dict]) -> int:
        return sum(len(message["content"].split()) for message in messages)


def conversation(turns: int = 1, words: int = 3) -> list[dict]:
    """`turns` turns of user and assistant, `words` words each; the words tell the turn."""
    messages = []
    for turn in range(turns):
        messages.append({"role": "user", "content": " ".join([f"q{turn}"] * words)})
        messages.append({"role": "assistant", "content": " ".join([f"a{turn}"] * words)})
    return messages
