"""A stored run that can be drawn."""

from contextlib import suppress
from dataclasses import dataclass, replace

from ablab.config import InputError
from ablab.config.shown import Shown
from ablab.notebook.attention import Tokens, plot_attention
from ablab.notebook.curves import plot_run
from ablab.notebook.plot import Plot
from ablab.store.stored_run import StoredRun


@dataclass(frozen=True, repr=False)
class DrawnRun(StoredRun):
    """A run that can be drawn; else as :class:`ablab.store.stored_run.StoredRun`."""

    def drawn(self) -> Shown:
        """The same with its losses."""
        about = super().shown()
        with suppress(InputError):  # nothing was logged yet
            about = replace(about, figure=self.plot().markup)
        return about

    def plot(self, *columns: str) -> Plot:
        """Columns against the step, with the values under the cursor.

        Args:
            columns: Names or shell-style patterns; by default, the losses and the accuracy. At most
                six are drawn, each on its own axes; the two losses share theirs.

        Raises:
            InputError: A pattern matches no column that the run has logged.
        """
        return plot_run(self.store, self.id, columns)

    def attention(
        self,
        tokens: Tokens | None = None,
        step: int | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> Plot:
        """The attention patterns on one sample as heat maps, with the values under the cursor.

        Args:
            tokens: Text that the task converts to tokens, token numbers of shape (T,), or None for
                the first held-out sample.
            step: The step of a snapshot; by default, the last one.
            layer: The layer; all by default.
            head: The head; all by default. At most twelve heads are drawn.

        Raises:
            StoreError: There is no snapshot of that step.
            InputError: The model has no attention, no such layer or head, or cannot read the
                tokens.
        """
        after = self.snapshots[-1] if step is None and self.snapshots else step
        about = f"run {self.id}" + ("" if after is None else f" after step {after:,}")
        return plot_attention(self.model(step), self.task(), tokens, layer, head, about)
