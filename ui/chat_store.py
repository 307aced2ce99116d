"""Where a browser keeps its conversations: one list in its localStorage, shared by all tabs that are open on the page.

The list holds conversations and, for those that were deleted, {"id", "changed", "deleted"}. Whoever writes first reads what the
other tabs wrote: of two with one id the one that was changed last stays. The server never sees any but its visitor's own.
"""

import gradio as gr

KEY = "tinyllama-studio-conversations"
MOST_DELETED = 200  # remembered, so that a tab that still holds one does not bring it back

MERGE = f"""(ours, theirs) => {{
  const latest = new Map();
  for (const one of [...ours, ...theirs]) {{
    const known = latest.get(one.id);
    if (!known || one.changed > known.changed) latest.set(one.id, one);
  }}
  let deleted = 0;
  return [...latest.values()]
    .sort((one, other) => other.changed - one.changed)
    .filter((one) => !one.deleted || ++deleted <= {MOST_DELETED});
}}"""
_KEEP = f"""
const merge = {MERGE};
const isOne = (one) => one && typeof one.id === "string" && Number.isFinite(one.changed);
const read = () => {{
  try {{
    const found = JSON.parse(localStorage.getItem("{KEY}"));
    return Array.isArray(found) ? found.filter(isOne) : [];
  }} catch {{ return []; }}
}};
const show = (list) => {{ if (JSON.stringify(list) !== JSON.stringify(props.value)) props.value = list; }};
show(read());
watch("value", () => {{
  const merged = merge((props.value || []).filter(isOne), read());
  const text = JSON.stringify(merged);
  try {{ if (text !== localStorage.getItem("{KEY}")) localStorage.setItem("{KEY}", text); }}
  catch (error) {{ console.error("The browser has no room for the conversations", error); }}
  show(merged);
}});
window.addEventListener("storage", (event) => {{ if (event.key === "{KEY}") show(read()); }});
"""


def conversation_store() -> gr.HTML:
    """The component whose value is that list; nothing is seen of it. It stands outside the tabs, to be there from the start."""
    return gr.HTML([], html_template="", js_on_load=_KEEP, elem_classes="nothing-to-see", padding=False)
