"""The updates that show a conversation in the page: at rest, and step by step while it is answered."""

import gradio as gr

from chat.conversation import MAX_PANES, Conversation, said
from ui.chat import view as chat_view
from ui.chat.checks import are_different
from ui.chat.layout import Layout
from ui.events import Updates


def at_rest(own: Layout, conversation: Conversation) -> Updates:
    """Return updates that show the conversation without an answer in progress."""
    ready = {own.send_button: gr.Button(visible=True), own.stop_button: gr.Button(visible=False)}
    last = [pane["messages"][-1] for pane in conversation["panes"] if pane["messages"]]
    ready[own.continue_button] = gr.Button(interactive=any(message.get("end") for message in last))
    return {own.conversation: conversation, own.draft: None, **ready, **whole_view(own, conversation)}


def whole_view(own: Layout, conversation: Conversation) -> Updates:
    """Return updates for all panes."""
    panes, changes, count = own.panes, {}, len(conversation["panes"])
    has_answers = bool(said(conversation))
    for number in range(MAX_PANES):
        changes[panes.columns[number]] = gr.Column(visible=number < count)
        changes[panes.better_buttons[number]] = gr.Button(
            visible=count > 1 and has_answers, interactive=are_different(conversation)
        )
        if number < count:
            pane = conversation["panes"][number]
            label = chat_view.title_of(pane)
            messages, rating = chat_view.shown_messages(pane), chat_view.shown_rating(pane)
            changes[panes.chatbots[number]] = gr.Chatbot(messages, label=label, feedback_value=rating)
            changes[panes.meters[number]] = chat_view.meter(pane)
    box = gr.Textbox(conversation["summary"], visible=bool(conversation["summarised"]))
    return {**changes, own.settings.summary_box: box}


def moved_view(own: Layout, conversation: Conversation, asked: list[int]) -> Updates:
    """Return updates of one step of the answers, for the panes that were asked.

    Every Chatbot gets its messages, also unchanged ones: for one without a value Gradio makes a new component and its schema,
    4 ms each time; equal values are not sent.
    """
    panes, changes = own.panes, {}
    for number, chatbot in enumerate(panes.chatbots):
        pane = conversation["panes"][number] if number < len(conversation["panes"]) else None
        changes[chatbot] = chat_view.shown_messages(pane) if pane else []
        if pane and number in asked:
            changes[panes.meters[number]] = chat_view.meter(pane)
    return changes
