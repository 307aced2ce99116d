"""The family of a published chat template, by the hash of its text, without rendering it."""

import hashlib
import re
from functools import cache

from models.templates import NAMES, read_template

# SHA-256 of the normalised text, and the family that renders the same; the templates of our own files are added to these.
# A name without a file of ours is a published text that is harmless and rendered as it is.
KNOWN = {
    "66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362": "zephyr",  # TinyLlama-1.1B-Chat-v1.0, zephyr-7b-beta
    "5e2833b50f34f4581d09d801325bf4d7d8285bcad36be595a30a9904b7759f5d": "zephyr",  # Unsloth
    "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788": "smollm2",  # SmolLM2-135M-Instruct
    "153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3": "chatml",  # OpenHermes-2.5 and many others
    "58c1a1f04baa7adaeaba1f90267c3d57d9396f0c1f0129bdde9e76d3c6784af7": "chatml",  # AutoTrain, transformers' documentation
    "31e10ce181f9efb8cdd33e5f274d4fea971d91ac59d24817015d7f432bb1f51c": "chatml",  # AutoTrain's "chatml"
    "3e3e4ccd01b95ae100e861475e34dd42d044d15858f876bb73fe2934fe1603db": "chatml",  # Unsloth
    "9780fae5bfea3cfd7be37d328c6edfd296a8869be8131495bbe7eb37e780c88c": "llama2",  # Llama-2-7b-chat, Llama-2-13b-chat
    "5e53c989e0be846d15684f709272441562fff0321d7d47693d54c0f0ed9f4822": "llama2",  # the same, as written before 2024
    "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122": "llama3",  # Meta-Llama-3-8B-Instruct
    "8368541fc91df091feb3bbf033cc456e0973d673c17f832776e7472ed3ad6e76": "alpaca",  # github.com/chujiezheng/chat_templates
    "99799a835a31e1d33c4a9c7ee8a0de3923b291a95155ed6dc8efcbd0fe1d0238": "llama3.1",  # TRL's llama3_1.jinja
    "0cac23ffd2b33ff7b039e17ee143a080053318146fdc788f1d49ed4745aa8683": "llama3.2",  # TRL's llama3_2.jinja
    "795ba6276beff6e84e75213f77a7e7fff71b6c587618a6ed43c1f90c2ad2334a": "deepseek-r1",  # TRL's deepseek_r1_distill.jinja
    "a18cc698dd45623eb707279d08e66f7bb8d76afc89ead84016b88487b395b5cc": "qwen2.5",  # TRL's qwen2_5.jinja
    "edcd73b0e30a780c1d6f3e060c07396def3c3fa55a2c55197b10f99d1dde83e1": "qwen3",  # TRL's qwen3.jinja
    "aa39eed4cbfdd57aeaab518e83d06945f00df6afefba6eb985b6b85060cade95": "qwen3-2507",  # TRL's qwen3_instruct_2507.jinja
}


def normalised(text: str) -> str:
    """Return `text` without generation marks and outer white space, with one kind of line end, also for escaped ones."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}\n?", "", text)  # trim_blocks takes the line end away, too
    return text.replace("\\n", "\n").strip()


def fingerprint(text: str) -> str:
    """Return the SHA-256 of the normalised text in hexadecimal."""
    return hashlib.sha256(normalised(text).encode("utf-8", "surrogatepass")).hexdigest()


def recognise(text: str) -> str | None:
    """Return the family of a template's text, None for an unknown one."""
    found = fingerprint(text)
    return KNOWN.get(found) or _ours().get(found)


@cache
def _ours() -> dict[str, str]:
    """Return {hash: name} of the app's own files, which adapters that were trained here contain."""
    return {fingerprint(read_template(name)): name for name in NAMES}
