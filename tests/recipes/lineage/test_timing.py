"""Tasks against their definitions; the experiment in small."""

import json

import numpy as np
import pytest

from recipes.lineage.experiment import Settings
from recipes.lineage.timing import EXPERIMENT, WITH, WITHOUT
from recipes.lineage.timing_tasks import TASKS, curve, timed_spike


def test_spikes_and_curves_have_their_shape():
    assert timed_spike(4) == (0, 0, 0, 1)
    for shape, values in (
        ("cosine", [0, 0.5, 1, 0.5]),
        ("triangle", [0, 0.5, 1, 0.5]),
        ("rectangle", [0, 0, 1, 1]),
    ):
        assert curve(shape, 4) == pytest.approx(values, abs=1e-12)


def test_tasks_have_the_papers_tolerances_and_momenta():
    found = {task.name.split()[0]: task.lesson(1e-5, -2.0, 1) for task in TASKS}
    assert {name: (f.tolerance, f.momentum, f.logistic) for name, f in found.items()} == {
        "MSD": (0.49, 0.9999, True),
        "GTS": (0.49, 0.999, True),
        "PFG": (0.3, 0.99, False),
    }
    assert found["MSD"].measured
    assert not found["GTS"].measured


@pytest.mark.parametrize("first_seed", [0, 1_000, 2_000])
def test_with_peepholes_a_curve_goes_on_for_longer(first_seed):
    result = EXPERIMENT.run(Settings(reduced=True, first_seed=first_seed))
    json.dumps(result.numbers, allow_nan=False)
    (forms,) = result.numbers["runs"].values()
    with_them, without = (np.mean(forms[form]["longest"]) for form in (WITH, WITHOUT))
    assert with_them > 5
    assert without < 1  # of 100 periods
