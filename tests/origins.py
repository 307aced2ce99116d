"""Where a made row of the tests is from."""

from data.made import Origin

ORIGIN = Origin(
    teacher="qwen",
    recipe="question-answer",
    version="1",
    prompt="9f86d081884c7d65",
    document="notes.pdf",
    start=10,
    end=90,
    time=1.7e9,
    licence="apache-2.0",
)
