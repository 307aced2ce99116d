"""Scripts of the Chat tab that run in the browser alone: copying an answer, Esc, the box of an edited message, a download.

Values of events' `js`, no handlers. Gradio has no own ways for these.
"""

# Copying: Gradio's button copies a message's markdown; whoever copies an answer wants the words, without the line under them.
# Over plain HTTP there is no clipboard to listen to: Gradio then copies in its own way.
COPY_THE_WORDS = """(...values) => {
  if (navigator.clipboard && !window.studioCopies) {
    let clicked = null;
    document.addEventListener("click", (event) => { clicked = event.target; }, true);
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    const words = (text) => text.replace(/\\n\\n<small>[^<]*<\\/small>$/, "")
      .replaceAll("&#33;", "!").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    const isAnswer = () => clicked?.closest?.("[role=log]") && !clicked.closest("pre, .code_wrap");
    navigator.clipboard.writeText = (text) => write(isAnswer() ? words(text) : text);
    window.studioCopies = true;
  }
  return values;
}"""
# On a phone a side lies over the answers: what is done beside it closes it. Returns whether one was open.
SHUT = """() => {
  const sides = document.getElementById("chat")?.dataset;
  const isOpen = matchMedia("(max-width: 960px)").matches && (sides?.list === "open" || sides?.settings === "open");
  if (isOpen) { delete sides.list; delete sides.settings; }
  return isOpen;
}"""
# Esc closes an open list or a side on a phone, or leaves an edit, else it stops the answer. An edited message's box has the
# focus, and not the line under the answer in it.
KEYS = """() => {
  const fit = () => {  // the chat is as high as what is left of the window below the page's head
    const chat = document.getElementById("chat"), top = chat?.getBoundingClientRect().top + window.scrollY;
    if (top) document.documentElement.style.setProperty("--chat-top", `${Math.round(top)}px`);
  };
  setTimeout(fit);  // after the tab is drawn
  if (window.studioKeys) return;
  window.studioKeys = true;
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest?.(".chat-side, .chat-toggle, [role=listbox]")) shut();
  });
  window.addEventListener("resize", fit);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || document.querySelector("[role=listbox]")) return;
    const edited = event.target.closest?.("textarea.edit-textarea");
    if (edited) return edited.closest(".message-row")?.nextElementSibling?.querySelector("[aria-label=Cancel]")?.click();
    if (shut()) return;
    const stop = document.getElementById("chat-stop");
    if (stop?.offsetParent && !stop.disabled) stop.click();
  });
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      const kind = "textarea.edit-textarea", box = node.matches?.(kind) ? node : node.querySelector?.(kind);
      if (!box) continue;
      setTimeout(() => {  // after Gradio has filled it
        const words = box.value.replace(/\\n\\n<small>[^<]*<\\/small>$/, "");
        if (words !== box.value) { box.value = words; box.dispatchEvent(new Event("input", { bubbles: true })); }
        box.focus();
      });
    }
  }).observe(document.body, { childList: true, subtree: true });
}"""
IN_THE_BROWSER = f"(...values) => {{ const shut = {SHUT}; ({KEYS})(); return ({COPY_THE_WORDS})(...values); }}"
FOCUS = f"(...values) => {{ ({SHUT})(); document.querySelector('#chat-box textarea')?.focus(); return values; }}"
PICKED = f"(id) => {{ ({SHUT})(); return id; }}"
DOWNLOAD = """(text, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text]));
  link.download = name;
  link.click();
}"""


def toggle(side: str) -> str:
    """Return the script that opens or closes a side of the chat, 'list' or 'settings'; what is usual depends on the window."""
    return f"""() => {{
  const chat = document.getElementById("chat"), isShown = chat.querySelector(".chat-{side}").getClientRects().length > 0;
  chat.dataset.{side} = isShown ? "shut" : "open";
  document.getElementById("chat-{side}-button").setAttribute("aria-expanded", String(!isShown));
}}"""
