import pytest
import torch

from shoebox.base.errors import ShoeboxError
from shoebox.models import build_model
from shoebox.training.optimizer import build_optimizer
from shoebox.training.state import Parts, TrainState, checkpoints, load_checkpoint, prune, save_checkpoint


def parts(seed, optimizer="muon"):
    torch.manual_seed(seed)
    network = build_model("speednet(width=0.25)", classes=2, size=16)
    made = Parts(network, build_optimizer(optimizer, network, None, None), None, {})
    network(torch.randn(4, 3, 16, 16)).square().mean().backward()
    made.optimizer.step()
    return made


@pytest.mark.parametrize("optimizer", ["muon", "adam", "adamw", "sgd"])
def test_everything_comes_back(tmp_path, optimizer):
    before, after = parts(0, optimizer), parts(1, optimizer)
    before.seen["logits"] = [torch.ones(2, 2), torch.zeros(1, 2)]
    state = TrainState(epoch=2, step=3, updates=11, best_value=0.5, history=[{"epoch": 1, "train_loss": 0.25}])
    assert load_checkpoint(save_checkpoint(tmp_path, state, before), after) == state
    for name, tensor in before.network.state_dict().items():
        assert torch.equal(tensor, after.network.state_dict()[name]), name
    kept, restored = before.optimizer.state_dict()["state"], after.optimizer.state_dict()["state"]
    assert kept.keys() == restored.keys()
    for index, values in kept.items():
        for key, value in values.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(restored[index][key])), (index, key)
    assert torch.equal(torch.cat(after.seen["logits"]), torch.tensor([[1.0, 1], [1, 1], [0, 0]]))


def test_every_damaged_byte_is_noticed(tmp_path):
    path = save_checkpoint(tmp_path, TrainState(), parts(0))
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ShoeboxError, match="checkpoint"):
            load_checkpoint(path, parts(0))
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ShoeboxError, match="checkpoint"):
            load_checkpoint(path, parts(0))


def test_the_latest_is_the_one_of_the_highest_step_whatever_the_clock_says(tmp_path):
    import os

    made = parts(0)
    for updates in (5, 100, 20):
        save_checkpoint(tmp_path, TrainState(updates=updates), made)
    os.utime(tmp_path / "step-000000005.safetensors", (2**32, 2**32))
    assert [p.name for p in checkpoints(tmp_path)] == [f"step-{n:09d}.safetensors" for n in (5, 20, 100)]


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    made = parts(0)
    paths = [save_checkpoint(tmp_path, TrainState(updates=n), made) for n in range(5)]
    prune(tmp_path, 2, best=paths[1])
    assert checkpoints(tmp_path) == [paths[1], paths[3], paths[4]]
