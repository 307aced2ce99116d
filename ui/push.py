"""What the pushes of adapters and data sets share on the page: the licences, the plan, and what was pushed."""

import html

from common.errors import UserError
from common.language import _, joined
from models.hub.push import CHANGES, Pushed, PushPlan
from ui.hints import hint_html, link_html

LICENSES = ["", "apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "openrail", "other"]
FIRST_LOOK = _("Preview the push first: it shows every file and what it would change.")


def license_in(value: object) -> str:
    """Return the licence that was chosen. Raises UserError for one that is not in the list."""
    if (value or "") not in LICENSES:
        raise UserError(_("This licence is not in the list."), _("Choose one from the list."))
    return str(value or "")


def plan_html(plan: PushPlan) -> str:
    """Return the plan of a push, file by file, as HTML."""
    rows = ""
    for file in plan.files:
        mega = _("{size:.1f} MB", size=file.size / 1e6)
        size = mega if file.size >= 100_000 else _("{size:,} kB", size=max(1, round(file.size / 1e3)))
        cells = (html.escape(file.path), CHANGES[file.change], size)
        rows += f"<tr class='{file.change}'>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    kept = hint_html(_("Left as they are: {files}.", files=", ".join(plan.kept[:10]))) if plan.kept else ""
    return f"{hint_html(plan.sentence())}<table class='plan'>{rows}</table>{kept}"


def pushed_html(pushed: Pushed) -> str:
    """Return what was pushed, and its address, as HTML."""
    done = _("Pushed.") if pushed.changed else _("Nothing had changed.")
    words = joined([done, _("Only you can see it.") if pushed.private else _("Everybody can see it.")])
    return f"<p>{words}</p><p>{link_html(pushed.url, pushed.repo_id)}</p>"
