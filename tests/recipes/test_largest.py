"""The largest batches come first, and change nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut

from recipes.common.batches import BatchLimits, BatchSampler
from recipes.common.largest import LargestBatchesFirst
from recipes.common.module import SpeechModule

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


@settings(deadline=None, max_examples=40)
@given(
    seconds=st.lists(st.floats(0.1, 40.0), min_size=2, max_size=80),
    most=st.integers(1, 16),
    limit=st.floats(1.0, 60.0),
)
def test_no_batch_of_any_epoch_is_larger(seconds, most, limit):
    cuts = [MonoCut(f"{n}", 0.0, duration, 0) for n, duration in enumerate(seconds)]
    sampler = BatchSampler(cuts, BatchLimits(most, limit), stretch=1.25, added=0.5, shuffle=True)
    largest, longest = sampler.largest()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for drawn in sampler:
            padded = len(drawn.cuts) * max(cut.duration * 1.25 + 0.5 for cut in drawn.cuts)
            assert padded <= len(largest) * longest + 1e-9


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_training_is_the_same_without_them(toy, toy_data, tmp_path, monkeypatch):
    how = ["--trainer.max_epochs", "1", "--model.network.dropout", "0.3"]
    how += ["--data.speed_factors", "[0.8, 1.0]", "--model.network.input_noise", "0.1"]
    seen = []
    loss = SpeechModule.training_loss

    def recorded(self, batch):
        seen.append((self.trainer.global_step, batch.waveforms.numel()))
        return loss(self, batch)

    monkeypatch.setattr(SpeechModule, "training_loss", recorded)
    assert toy.fit(toy_data, tmp_path / "with", *how) == 0
    assert seen[0][0] == seen[1][0] == 0
    assert seen[0][1] >= max(size for _, size in seen[1:])
    monkeypatch.setattr(LargestBatchesFirst, "on_train_start", lambda *_: None)
    assert toy.fit(toy_data, tmp_path / "without", *how) == 0
    expected = weights(tmp_path / "without")
    for name, value in weights(tmp_path / "with").items():
        assert torch.equal(value, expected[name]), name


def test_a_lack_of_memory_is_told_before_the_first_step(
    toy, toy_data, tmp_path, capsys, monkeypatch
):
    def too_large(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SpeechModule, "training_loss", too_large)
    assert toy.fit(toy_data, tmp_path / "run", "--trainer.max_epochs", "1") == 2
    error = capsys.readouterr().err
    assert "the largest training batch" in error
    assert "--data.batch_seconds" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "checkpoints").exists()
