"""What the server holds for a page that is open somewhere."""

import json
import pickle
import tracemalloc

import gradio as gr
from fastapi.testclient import TestClient

from tests.ui.conftest import handler

SECRET = "words-of-one-browser"


def test_a_session_holds_no_conversation_that_its_browser_keeps(page):
    client = TestClient(gr.routes.App.create_app(page), raise_server_exceptions=False)
    job = handler(client, "list_conversations")
    components = {one["id"]: one for one in client.get("/config").json()["components"]}
    said = [{"role": "user", "content": SECRET}, {"role": "assistant", "content": SECRET * 1000}]
    kept = [{"id": "1", "changed": 1, "title": "t", "panes": [{"model": "base:auto", "messages": said}]}]
    data = [components[one._id]["props"].get("value") for one in job.inputs]
    [store] = [place for place, one in enumerate(job.inputs) if isinstance(one, gr.HTML) and data[place] == []]
    data[store] = kept
    body = {"data": data, "fn_index": job._id}
    client.post("/gradio_api/run/predict", json={**body, "session_hash": "warm"})
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10):
        answer = client.post("/gradio_api/run/predict", json={**body, "session_hash": f"s{number}"})
        assert answer.status_code == 200 and "t" in json.dumps(answer.json())
    each = (tracemalloc.get_traced_memory()[0] - before) / 10
    tracemalloc.stop()
    assert each < 100_000
    for session in client.app.state_holder.session_data.values():
        assert SECRET.encode() not in pickle.dumps([session.config_values, session.state_data])
