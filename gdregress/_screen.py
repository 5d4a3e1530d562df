"""The lines of a progress bar, drawn by rich in a terminal or a notebook."""

import os
from multiprocessing import parent_process
from time import monotonic

__all__ = ["INTERVAL", "screen_for"]

# Seconds between two looks at the record of a fit, and between two drawings.
INTERVAL = 0.1
# The columns that a terminal needs for more than the loss.
_WIDE = 100


class Screen:
    """The lines of a display in a terminal or a notebook, drawn by rich."""

    def __init__(self, progress, handle=None):
        self._progress, self._handle = progress, handle
        self._drawn = monotonic()

    def add(self, label, total, path):
        return self._progress.add_task(label, total=total, figures="", path=path)

    def update(self, line, completed, figures):
        n_shown = len(figures) if self._progress.console.width >= _WIDE else 1
        fields = {"figures": "  ".join(figures[:n_shown])} if figures else {}
        self._progress.update(line, completed=completed, **fields)
        if self._handle is not None and monotonic() - self._drawn > INTERVAL:
            self._draw_in_notebook()

    def finish(self, line, *, keep):
        """A task has ended: all of it, however few its parts were in the end."""
        if keep:
            completed = self._progress.tasks[self._progress.task_ids.index(line)].completed
            self._progress.update(line, total=max(1, completed), completed=max(1, completed))
        else:
            self._progress.remove_task(line)

    def close(self):
        if self._handle is None:
            self._progress.stop()
        else:
            self._draw_in_notebook()

    def _draw_in_notebook(self):
        self._drawn = monotonic()
        self._handle.update(self._progress)


def screen_for(console):
    """A screen where somebody watches, else None."""
    from rich.console import Console
    from rich.errors import LiveError

    wanted = console is not None
    if not wanted:
        in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
        if in_ci or parent_process() is not None:
            return None
        console = Console(stderr=True)
    progress = _bars(console)
    if console.is_jupyter:
        # rich's own live display asks for ipywidgets; an output that is replaced needs nothing.
        from IPython.display import display

        return Screen(progress, display(progress, display_id=True))
    if not (wanted or console.is_terminal):
        return None
    try:
        progress.start()
    except LiveError:  # another fit draws on this console already
        return None
    return Screen(progress)


def _bars(console):
    """The table of bars, those of parts below that of the whole."""
    from rich import progress
    from rich.table import Column

    class Bars(progress.Progress):
        def get_renderables(self):
            yield self.make_tasks_table(sorted(self.tasks, key=lambda task: task.fields["path"]))

    return Bars(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        progress.TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        progress.TextColumn("{task.fields[figures]}"),
        console=console,
    )
