"""The chat that people copy: Gradio's ChatInterface around `generate()` with a streamer. A rival of the page, nothing of ours.

python -m benchmarks.chat_interface FOLDER PORT TOKENS
"""

import sys
from threading import Thread

import gradio as gr
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer


def main() -> None:
    folder, port, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)

    def answer(message: str, history: list[dict]):
        messages = [{"role": one["role"], "content": one["content"][0]["text"]} for one in history]
        messages.append({"role": "user", "content": message})
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        settings = {"max_new_tokens": tokens, "do_sample": False, "streamer": streamer}
        Thread(target=model.generate, kwargs={**inputs, **settings}).start()
        text = ""
        for word in streamer:
            text += word
            yield text

    gr.ChatInterface(answer).launch(server_port=port, ssr_mode=False)


if __name__ == "__main__":
    main()
