"""A stored run that can be drawn."""

from dataclasses import dataclass, replace

from ablab.config import InputError
from ablab.config.shown import Shown
from ablab.experiments.experiment import variant_label
from ablab.notebook.attention import Tokens, check_number, plot_attention
from ablab.notebook.curves import plot_run
from ablab.notebook.plot import Plot
from ablab.store.index import StoreError
from ablab.store.stored_run import StoredRun


@dataclass(frozen=True, repr=False)
class DrawnRun(StoredRun):
    """A run that can be drawn; else as :class:`ablab.store.stored_run.StoredRun`."""

    def drawn(self) -> Shown:
        """The same with its losses."""
        about = super().shown()
        try:
            return replace(about, figure=self.plot().markup)
        except StoreError as error:
            return replace(about, sentences=[*about.sentences, error.problems[0].message])
        except InputError:  # nothing was logged yet
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

        The model is built as by ``run.model()``, so a user's component is imported: its code, as
        the run was trained with it, or the archived copy in the store.

        Args:
            tokens: Text that the task converts to tokens, token numbers of shape (T,), or None for
                the first held-out sample.
            step: The step of a snapshot; by default, the last one.
            layer: The layer; all by default. Of the thinker, 0 is what reads the tokens; its
                thoughts and what writes the output follow.
            head: The head, counted within its layer; all by default. At most twelve heads are
                drawn.

        Raises:
            StoreError: There is no snapshot of that step.
            InputError: The model has no attention, no such layer or head, or cannot read the
                tokens; or a step, a layer or a head is not a whole number.
        """
        check_number("step", step)
        step = None if step is None else int(step)
        after = self.snapshots[-1] if step is None and self.snapshots else step
        cell = f"{variant_label(self.record.variant)}, " if self.record.variant else ""
        about = f"run {self.id} ({cell}seed {self.record.seed})"
        about += "" if after is None else f" after step {after:,}"
        return plot_attention(self.model(step), self.task(), tokens, layer, head, about)
