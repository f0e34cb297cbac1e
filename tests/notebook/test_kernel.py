"""``ablab.run`` in a Jupyter kernel: its progress, and what the stop button does."""

import asyncio
import threading
import time

from tests.notebook.kernels import SECONDS, kernel, text_of

STEPS = 1500
SETUP = f"""
import ablab
asked = ablab.experiment({{
    "name": "long",
    "task": {{"kind": "addition", "n_digits": 1}},
    "model": {{"d_model": 8, "n_heads": 1}},
    "train": {{"steps": {STEPS}, "batch_size": 16, "evaluate": {{"every": 500, "samples": 16}}}},
    "grid": {{"train.lr": [1e-3, 3e-3]}},
}})
"""
RUN = 'result = ablab.run(asked, store="lab", workers=1, engine="solo", compile="off")\nresult'
LOOK = """
frame = result.metrics()
print(result.complete, result.trained, [each.status for each in result.runs])
print(all(own["step"].to_list() == list(range(own["step"].min(), own["step"].max() + 1))
          for own in frame.partition_by("run")), [each.step for each in result.runs])
"""


def test_an_interrupt_keeps_what_is_trained_and_the_same_cell_goes_on(tmp_path, monkeypatch):
    with kernel(tmp_path, [SETUP, RUN, LOOK, RUN, LOOK], monkeypatch) as client:
        cells = client.nb.cells
        client.execute_cell(cells[0], 0)

        def press_stop():
            began = time.monotonic()
            while "step " not in text_of(cells[1]) and time.monotonic() - began < SECONDS:
                time.sleep(0.02)
            asyncio.run(client.km.interrupt_kernel())

        button = threading.Thread(target=press_stop)
        button.start()
        client.execute_cell(cells[1], 1)
        button.join()
        for place in (2, 3, 4):
            client.execute_cell(cells[place], place)

    interrupted, again = text_of(cells[1]), text_of(cells[3])
    assert not [each for cell in cells for each in cell.outputs if each.output_type == "error"]
    assert "What is trained is kept; the same call goes on from there." in interrupted
    assert "run it again to go on" in interrupted
    whole, steps = text_of(cells[2]).splitlines()[:2]
    assert whole.startswith("False 2 [")
    assert "'interrupted'" in whole
    assert steps.startswith("True [")
    trained = sum(map(int, steps.removeprefix("True [").rstrip("]").split(",")))
    assert 0 < trained < 2 * STEPS
    assert "training 100%" in again
    whole, steps = text_of(cells[4]).splitlines()[:2]
    assert whole.startswith("True ")
    assert whole.endswith(" ['finished', 'finished']")
    assert steps == f"True [{STEPS}, {STEPS}]"

    # One output that changed, not a line for every step; and one that shows the result.
    kinds = [each.output_type for each in cells[3].outputs]
    assert kinds == ["display_data", "execute_result"]
    html = cells[3].outputs[1].data["text/html"]
    assert "<figure>" in html
    assert 'class="strip"' in html
