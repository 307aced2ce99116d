"""Sentences for the page. Errors become messages here alone: UserErrors are shown, others are logged as bugs."""

import functools
import html
import inspect
import logging

import gradio as gr

from common.errors import as_user_error
from common.language import _
from models.hub.fetch import Progress

log = logging.getLogger(__name__)


def shown(handler):
    """Decorate an event handler (plain or generator) so that no traceback ever reaches the page."""

    @functools.wraps(handler)
    def plain(*args, **kwargs):
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _message(error) from error

    @functools.wraps(handler)
    def generator(*args, **kwargs):
        try:
            yield from handler(*args, **kwargs)
        except Exception as error:
            raise _message(error) from error

    return generator if inspect.isgeneratorfunction(handler) else plain


def _message(error: Exception) -> gr.Error:
    """Return the message for an error: the sentence of a UserError; others are logged."""
    if isinstance(error, gr.Error):
        return error
    known = as_user_error(error, with_paths=False)
    if known:
        if known is not error:
            log.warning("The system refused something: %s", error, exc_info=error)
        elif cause := known.__cause__:  # the sentence may hide a fault of our own
            log.warning("Shown: %s The cause: %.300r", known, cause)
        words = html.escape(str(known), quote=False)  # a message is HTML to the page: a name in it may be anybody's
        return gr.Error(words, title=str(_("This did not work")), duration=15, print_exception=False)
    log.exception("A handler failed")
    return gr.Error(
        str(_("Something went wrong inside the app. The server's log has the details.")),
        title=str(_("A bug")),
        print_exception=False,
    )


def reporter(progress: gr.Progress) -> Progress:
    """Return a progress function that shows an engine's sentences on the page."""
    return lambda what, fraction: progress(fraction or 0, desc=str(what))
