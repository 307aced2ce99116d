"""Reports the failure of a training process: once for all processes of the run, by the one that knows the reason."""

import logging
import os
import traceback
from contextlib import suppress

from common.errors import UserError
from common.language import Sentence, _, joined
from runs.config import TrainConfig
from runs.events import read_events
from runs.failures import TABLE, Failure, diagnose, explain
from runs.run import EventLog, Run
from trainer import ranks
from trainer.watchdog import HangWatch


def report_failure(error: Exception, run: Run, events: EventLog, told: int) -> None:
    """Write the `failed` event, unless another process of this run has written it, or only this one lost the connection.

    `told`: the number of events before this start. While the processes are restarted a note takes the event's place.
    """
    with suppress(OSError):  # a full disk, or one that is gone
        events.write_held_step()
    lost = ranks.lost(error)
    failure = lost or explain(error, run.config_or_none())
    is_known = isinstance(error, UserError)
    logging.getLogger(__name__).error("%s", failure if is_known else traceback.format_exc())
    restarted, most = ranks.restarts()
    is_final = restarted >= most or (is_known and not lost)
    if lost and not is_final:
        return  # the process that starts again writes a note
    if (lost or not events.writes) and ranks.others_reason(run.events_file, told):
        return
    if not is_final:
        EventLog(run).write("note", message=_of_process(joined([failure.message, failure.hint])))
        return
    speaks = EventLog(run, writes=events.writes or not lost)
    message = failure.message if events.writes else _of_process(failure.message)
    said = {**failure.to_event(), "message": message}
    if failure.code in TABLE and TABLE[failure.code].resumes:
        said["hint"] = joined([failure.hint, run.kept_words()])
    try:
        speaks.write("failed", **said)
    except OSError as error:  # a full disk, or one that is gone
        logging.getLogger(__name__).error("The failure could not be written: %s", error)


def _of_process(words: str) -> Sentence:
    return _("Process {number}: {words}", number=ranks.rank(), words=words)


def watch_for_hangs(run: Run, config: TrainConfig, events: EventLog) -> HangWatch:
    """Start the thread that ends this process, with a reason, when it waits for another one for too long."""
    told = len(read_events(run.events_file))

    def on_hang(who: str) -> None:
        failure = diagnose("process_silent")
        report_failure(Failure(failure.code, joined([failure.message, who]), failure.hint), run, events, told)
        os._exit(1)  # the main thread waits where no exception reaches it

    watch = HangWatch(run.folder, config.ddp_timeout, on_hang)
    watch.start()
    return watch
