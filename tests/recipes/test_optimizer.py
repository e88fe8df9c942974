"""Weight decay reaches matrices alone, also in a run that an earlier version began."""

import copy

import pytest
import pytorch_lightning as pl
import torch

from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from recipes.common.callbacks import OptimizerOptions
from recipes.common.optimizer import parameter_groups, regroup

MATRICES = {
    "peephole": {"weight_ih", "weight_hh", "weight"},
    "torch-lstm": {"weight_ih_l0", "weight_hh_l0", "weight"},
}
OTHERS = {
    "peephole": {"bias", "peephole"},
    "torch-lstm": {"bias_ih_l0", "bias_hh_l0", "bias"},
}


def model_of(cell):
    torch.manual_seed(0)
    return AcousticModel(AcousticModelConfig(5, 4, NetworkConfig(6, 2, cell)))


def names_of(model, group):
    wanted = {id(p) for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) in wanted]


@pytest.mark.parametrize("cell", ["peephole", "torch-lstm"])
def test_biases_and_peepholes_do_not_decay(cell):
    model = model_of(cell)
    groups = parameter_groups(model, 0.1)
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.0)
    decayed, others = (names_of(model, group) for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert {name.split(".")[-1] for name in decayed} == MATRICES[cell]
    assert {name.split(".")[-1] for name in others} == OTHERS[cell]
    assert sorted(decayed + others) == sorted(name for name, _ in model.named_parameters())


def test_a_projection_decays():
    model = AcousticModel(AcousticModelConfig(5, 4, NetworkConfig(6, 2, proj_size=3)))
    assert any("weight_hr" in name for name in names_of(model, parameter_groups(model, 0.1)[0]))


def step(model, optimizer):
    torch.manual_seed(1)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()


def test_a_run_of_an_earlier_version_keeps_its_moments():
    model = model_of("peephole")
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() <= 1]},
    ]
    before = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0)
    step(model, before)
    after = torch.optim.AdamW(parameter_groups(model, 0.1), lr=1e-2, weight_decay=0.0)
    state = copy.deepcopy(before.state_dict())
    with pytest.raises(ValueError, match="size"):
        after.load_state_dict(copy.deepcopy(state))
    regroup(state, model)
    after.load_state_dict(state)
    for p in model.parameters():
        torch.testing.assert_close(after.state[p]["exp_avg"], before.state[p]["exp_avg"])
    regroup(state := after.state_dict(), model)
    assert state["param_groups"] == after.state_dict()["param_groups"]


class Slope(pl.LightningModule):
    """Falls to zero at a rate that is halved after each epoch without gain, which all are."""

    def __init__(self, rate):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.rate, self.rates = rate, []

    def training_step(self, batch, index):
        return (self.weight * batch[0]).mean()

    def validation_step(self, batch, index):
        self.log("loss", 1.0)

    def on_train_epoch_start(self):
        self.rates.append(self.optimizers().param_groups[0]["lr"])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.rate)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss"}}


@pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice
@pytest.mark.parametrize(("rate", "factor"), [(0.8, 1.0), (0.4, 0.5)])
def test_a_rate_that_training_has_lowered_stays_low(tmp_path, rate, factor):
    """Resumed with another rate, all that follow change in proportion."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(2, 1)))

    def run(epochs, module, checkpoint=None):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(
            max_epochs=epochs,
            callbacks=[OptimizerOptions()],
            enable_checkpointing=False,
            accelerator="cpu",
            **quiet,
        )
        trainer.fit(module, loader, loader, ckpt_path=checkpoint, weights_only=False)
        return trainer, module.rates

    _, whole = run(6, Slope(0.8))
    trainer, first = run(3, Slope(0.8))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _, rest = run(6, Slope(rate), tmp_path / "last.ckpt")
    assert first == whole[:3]
    assert rest == [factor * each for each in whole[3:]]
