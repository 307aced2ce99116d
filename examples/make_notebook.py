"""Writes examples/studio.ipynb and the README's badges: `python -m examples.make_notebook`, after a change here.

Cells are short; each has a sentence in English and one in Korean. A test runs the notebook and compares it with what this writes.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from common.language import _
from common.paths import REPOSITORY

# Where this repository is for everybody, on GitHub: the one place that says so. An account there has no underscore in its
# name, so that no badge and no cell leads to a stranger's code while it is not published.
PUBLIC = "YOUR_ACCOUNT/tinyllama-studio"
NOTEBOOK, README = REPOSITORY / "examples" / "studio.ipynb", REPOSITORY / "README.md"
PLACE = f"github.com/{PUBLIC}/blob/main/examples/studio.ipynb"
COLAB = f"https://colab.research.google.com/{PLACE.replace('github.com', 'github', 1)}"
KAGGLE = f"https://kaggle.com/kernels/welcome?src=https://{PLACE}"
BADGES = (
    f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({COLAB})\n"
    f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({KAGGLE})"
)
BEGIN, END = "<!-- badges: python -m examples.make_notebook -->", "<!-- /badges -->"
PARAMETERS = "parameters"  # the tag of the cell after which other values may be put in, as papermill does

TITLE = f"""# TinyLlama Studio

{BADGES}

Fine-tune a small chat model on your own examples, watch it learn, and chat with it. Choose a GPU first (Colab: Runtime > Change
runtime type > T4; Kaggle: Settings > Accelerator > GPU T4 x2), then **Run all**. After a disconnect: **Run all** again.

내 예시로 작은 대화 모델을 미세조정하고, 학습하는 모습을 보고, 바로 대화해 보세요. 먼저 GPU를 고르고
(Colab: 런타임 > 런타임 유형 변경 > T4, Kaggle: Settings > Accelerator > GPU T4 x2) **모두 실행**을 누르세요.
연결이 끊기면 **모두 실행**을 한 번 더 누르면 돼요."""

CODE_WORDS = """## 1. The code and its packages

The torch that is installed here stays as it is. 여기에 설치된 torch는 그대로 둬요."""

CODE = f"""REPOSITORY = "https://github.com/{PUBLIC}"  # @param {{type:"string"}}
from pathlib import Path

places = (Path("."), Path(".."), Path.home() / "tinyllama-studio")
FOLDER = next((place.resolve() for place in places if (place / "studio/places.py").exists()), places[-1])
if not FOLDER.exists():
    assert "YOUR_ACCOUNT" not in REPOSITORY, "Write its address, on GitHub or of a Space. GitHub이나 스페이스의 주소를 쓰세요."
    !git clone --quiet --depth 1 {{REPOSITORY}} {{FOLDER}}
%cd -q {{FOLDER}}
%run examples/packages.py"""

HOME_WORDS = """## 2. Where everything is kept

On Colab your Drive (it asks once), on Kaggle the notebook's output: a disconnect loses only the steps since the last checkpoint.

Colab에서는 내 드라이브(한 번만 물어봐요), Kaggle에서는 노트북 출력에 저장해요.
연결이 끊겨도 마지막 체크포인트 이후의 스텝만 사라져요."""

HOME = """import studio

studio.home();"""

PARAMETER_WORDS = """## 3. What is trained

A file by its whole path (`/content/rows.jsonl`), the id of a Hugging Face data set, or `example`. Every setting of the page
works in `SETTINGS`.

파일의 전체 경로(`/content/rows.jsonl`), 허깅페이스 데이터셋 ID, 또는 `example`을 쓰세요. 페이지의 모든 설정을
`SETTINGS`에 쓸 수 있어요."""

PARAMETER = """NAME = "my-first"  # @param {type:"string"}
DATA = "example"  # @param {type:"string"}
BASE = "auto"  # @param ["auto", "embedded"] {allow-input: true}
SETTINGS = {"save_steps": 20}
QUESTION = "Why is the sky blue?"  # @param {type:"string"}
ITEMS = 50  # @param {type:"integer"}
HUB_NAME = ""  # @param {type:"string"}
OPEN_PAGE = False  # @param {type:"boolean"}"""

PAGE_WORDS = """## 4. With the page

Tick `OPEN_PAGE` above and run both cells: on Colab the page appears below, on Kaggle a link with a key is printed (keep it to
yourself). Everything that follows can be done there, too.

위에서 `OPEN_PAGE`를 켜고 두 셀을 실행하세요. Colab에서는 아래에 페이지가 나타나고, Kaggle에서는 키가 든 링크가 나와요
(다른 사람에게 주지 마세요). 아래의 모든 일을 페이지에서도 할 수 있어요."""

PAGE = """if OPEN_PAGE:
    studio.page()"""

TRAIN_WORDS = """## 5. Train

`resume` goes on from the last checkpoint of a run that was cut off. Two cards share each step by themselves.

`resume`은 중간에 끊긴 학습을 마지막 체크포인트부터 이어 가요. GPU가 두 개면 자동으로 나눠 써요."""

TRAIN = """training = studio.resume() or studio.train(name=NAME, data=DATA, base=BASE, **SETTINGS)
adapter = training.watch()"""

EVALUATE_WORDS = """## 6. Is it better

Beside its base, with 95 % intervals. 베이스 모델과 비교하고 95% 신뢰 구간을 함께 보여 줘요."""

EVALUATE = """scores = studio.evaluate(adapter, max_items=ITEMS).watch()"""

CHAT_WORDS = """## 7. Talk to it

직접 대화해 보세요."""

CHAT = """with studio.chat(adapter) as chat:
    chat.say(QUESTION)
chat"""

PUSH_WORDS = """## 8. Keep it on the Hugging Face Hub

Write a name into `HUB_NAME` above; private unless you say otherwise. The token is read from Colab's secrets (`HF_TOKEN`), or run
`import huggingface_hub; huggingface_hub.login()` first.

위의 `HUB_NAME`에 이름을 쓰세요. 따로 정하지 않으면 비공개예요. 토큰은 Colab 보안 비밀의 `HF_TOKEN`에서 읽어요. 없으면 먼저
`import huggingface_hub; huggingface_hub.login()`을 실행하세요."""

PUSH = """if HUB_NAME:
    print(studio.push(adapter, HUB_NAME).url)"""

CELLS = (
    ("markdown", TITLE, ""),
    *(("markdown", CODE_WORDS, ""), ("code", CODE, "")),
    *(("markdown", HOME_WORDS, ""), ("code", HOME, "")),
    *(("markdown", PARAMETER_WORDS, ""), ("code", PARAMETER, PARAMETERS)),
    *(("markdown", PAGE_WORDS, ""), ("code", PAGE, "")),
    *(("markdown", TRAIN_WORDS, ""), ("code", TRAIN, "")),
    *(("markdown", EVALUATE_WORDS, ""), ("code", EVALUATE, "")),
    *(("markdown", CHAT_WORDS, ""), ("code", CHAT, "")),
    *(("markdown", PUSH_WORDS, ""), ("code", PUSH, "")),
)


def notebook() -> str:
    """Return the notebook as JSON: nbformat 4.5, without outputs, for a GPU on Colab and on Kaggle."""
    cells = []
    for kind, source, tag in CELLS:
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": hashlib.sha256(source.encode()).hexdigest()[:8],
            "metadata": {"tags": [tag]} if tag else {},
            "source": source.splitlines(keepends=True),
        }
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    metadata = {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": []},
        "kaggle": {"accelerator": "nvidiaTeslaT4", "isGpuEnabled": True, "isInternetEnabled": True},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    found = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def with_badges(readme: str) -> str:
    """Return the README with today's badges between its two marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{BADGES}\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    """Write both files."""
    for file, text in ((NOTEBOOK, notebook()), (README, with_badges(README.read_text(encoding="utf-8")))):
        Path(file).write_text(text, encoding="utf-8")
        print(_("Wrote {file}", file=str(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
