"""Calls of a Space's guarded page with documents that nobody uploaded."""

import pytest

from tests.ui.calling import RUN
from tests.ui.conftest import handler
from tests.ui.space import GUEST

SECRET = "Top secret words of the machine. "


@pytest.mark.parametrize("name", ["plan_rows", "teacher_of_rows", "made_lists", "make_rows"])
def test_no_document_of_made_rows_is_a_file_of_the_server(space, tmp_path, monkeypatch, name):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("making.plan.read_sources", lambda *given: pytest.fail("it was read"))
    monkeypatch.setattr("ui.making.panel.start", lambda *given: pytest.fail("it was started"))
    file = tmp_path / "secret.txt"
    file.write_text(SECRET * 20)
    browser = space()
    call = handler(browser, name)
    values = [getattr(one, "value", None) for one in call.inputs]
    for path in (str(file), "/etc/passwd", "/proc/self/environ", "http://127.0.0.1:9/x"):
        for given in ([{"path": path, "meta": {"_type": "gradio.FileData"}}], [path], path, {"path": path}):
            data = [
                given if type(one).__name__ == "File" else value for one, value in zip(call.inputs, values, strict=True)
            ]
            data[0] = GUEST
            answer = browser.post(RUN, json={"data": data, "fn_index": call._id, "session_hash": "s"})
            assert answer.status_code != 200, (given, answer.text)
    data = [GUEST, *values[1:]]
    answer = browser.post(RUN, json={"data": data, "fn_index": call._id, "session_hash": "s"})
    assert "cannot read this call" not in answer.text, "without a document it is a call as any"
