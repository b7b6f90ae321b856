"""What a pretraining of towers computes: its batches, optimiser and schedule, and CLIP's loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from core import config
from core.choices import NORMALISATIONS
from core.errors import TrainingError
from core.pretrain.contrastive import Contrastive
from core.pretrain.pretraining import Pretraining, pretrain, warmup_cosine

STEPS, LIMIT = 4, 1e-3
SETTINGS = {"images": 40, "steps": STEPS, "batch": 8, "lr": 0.1, "weight_decay": 0.05, "betas": (0.8, 0.95), "warmup": 0.5}
SETTINGS |= {"clip_grad_norm": LIMIT, "normalisation": "clip", "precision": "no", "seed": 3}


class Greys:
    """A task whose image number i is of the grey level i, with a large loss."""

    image_size = (2, 3)

    def __init__(self):
        self.network, self.chosen, self.shown = torch.nn.Linear(18, 1), [], []

    def draw(self, index):
        return Image.new("RGB", (3, 2), (index,) * 3), index

    def choose(self, labels, batch, rng):
        self.chosen.append(rng.choice(len(labels), batch, replace=False).tolist())
        return self.chosen[-1]

    def loss(self, images, labels, rng):
        self.shown.append((images, labels))
        return 1e3 * self.network(images.flatten(1)).sum(), 0.5

    def save(self, path, metadata):
        path.write_text("")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A pretraining's task, its optimiser's settings, and at each of its updates the gradient's norm and the learning rate."""
    seen = SimpleNamespace(task=Greys(), optimisers=[], updates=[])

    class Watched(torch.optim.AdamW):
        def step(self, *arguments):
            (group,) = self.param_groups
            norms = [weight.grad.norm() for weight in group["params"]]
            seen.updates.append((torch.stack(norms).norm().item(), group["lr"]))
            return super().step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.optim, "AdamW", lambda *args, **named: seen.optimisers.append(Watched(*args, **named)) or seen.optimisers[0]
        )
        pretrain(Pretraining(seen.task, **SETTINGS), tmp_path_factory.mktemp("pretraining") / "made", workers=1)
    return seen


def test_every_step_has_images_of_its_own(watched):
    """Drawn from seed and step alone, and shown under the normalisation of the plan."""
    expected = [np.random.default_rng([3, step]).choice(40, 8, replace=False).tolist() for step in range(1, STEPS + 1)]
    assert watched.task.chosen == expected and len(set(map(tuple, expected))) == STEPS
    mean, deviation = (torch.tensor(values)[:, None, None] for values in NORMALISATIONS["clip"])
    for chosen, (images, labels) in zip(expected, watched.task.shown, strict=True):
        levels = torch.tensor(chosen)[:, None, None, None] / 255
        assert labels == chosen
        torch.testing.assert_close(images, ((levels - mean) / deviation).expand(8, 3, 2, 3))


def test_the_optimiser_has_what_the_plan_says(watched):
    (optimiser,) = watched.optimisers
    assert optimiser.defaults.items() >= {"betas": (0.8, 0.95), "weight_decay": 0.05, "eps": 1e-6}.items()
    assert all(norm == pytest.approx(LIMIT, rel=1e-2) for norm, _ in watched.updates)
    assert [lr for _, lr in watched.updates] == pytest.approx([0.1 * warmup_cosine(step, STEPS, 0.5) for step in range(STEPS)])


def test_the_schedule_by_hand():
    """100 steps: up in ten equal ones, down in 90 along half a cosine wave."""
    rates = [warmup_cosine(step, 100, 0.1) for step in (0, 4, 9, 10, 55, 99)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.5 * (1 + np.cos(np.pi * 89 / 90))])
    assert warmup_cosine(0, 4, 0.0) == 1 and rates[-1] < 1e-3


def test_classes_are_read_from_the_class_token():
    torch.manual_seed(0)
    bindings = ["STEPS = 2", "IMAGES = 300"]
    task = config.build(Pretraining, "ablations/micro/classes_50.gin", bindings=bindings).task
    pictures, classes = torch.randn(6, 3, *task.image_size), [3, 0, 49, 7, 7, 1]
    loss, accuracy = task.loss(pictures, classes, np.random.default_rng(0))
    logits, targets = task.head(task.tower.visual(pictures)), torch.tensor(classes)  # open_clip's own pass ends in [CLASS]
    assert loss.item() == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-4)
    shown = logits.argmax(1).tolist()
    assert (
        task.loss(pictures, shown, np.random.default_rng(0))[1] == 1
        and accuracy == (logits.argmax(1) == targets).float().mean()
    )


@pytest.mark.parametrize(("scale", "used"), [(2.0, 2.0), (9.0, np.log(100))])
def test_the_loss_is_clips(scale, used):
    """Cross-entropy both ways between [CLASS] and [EOS], at a temperature that is learned as far as 1/100."""
    torch.manual_seed(0)
    bindings = ["STEPS = 2", "IMAGES = 300", "contrastive.Contrastive.spelled = 0.0"]
    task = config.build(Pretraining, "ablations/micro/clip.gin", bindings=bindings).task
    assert isinstance(task, Contrastive)
    clip, words = task.network.clip.eval(), ["Table", "word", "a", "reading"]
    clip.logit_scale.data.fill_(scale)
    pictures = torch.randn(4, 3, *task.image_size)
    loss, accuracy = task.loss(pictures, words, np.random.default_rng(0))
    assert clip.logit_scale.item() == pytest.approx(used)
    ids = task.tokenize([word.lower() for word in words])
    ids = F.pad(ids, (0, len(clip.positional_embedding) - ids.shape[1]))  # open_clip's own pass takes no shorter ones
    with torch.no_grad():
        images, texts = clip.encode_image(pictures, normalize=True), clip.encode_text(ids, normalize=True)
    logits, own = np.exp(used) * images @ texts.T, torch.arange(4)
    assert loss.item() == pytest.approx(((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2).item(), rel=1e-4)
    assert accuracy == (logits.argmax(1) == own).float().mean()


def test_a_loss_that_is_not_finite_ends_it_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Greys, "loss", lambda self, images, labels, rng: (self.network(images.flatten(1)).sum() * float("nan"), 0.5)
    )
    with pytest.raises(TrainingError, match=f"the loss is not finite at step {STEPS} of made: lower Pretraining.lr = 0.1"):
        pretrain(Pretraining(Greys(), **SETTINGS), tmp_path / "made", workers=1)
    assert not (tmp_path / "made").exists()


def test_where_nobody_watches_every_hundredth_step_is_a_line(tmp_path, capsys):
    pretrain(Pretraining(Greys(), **SETTINGS | {"steps": 200}), tmp_path / "made", workers=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert [line.partition(":")[0] for line in lines] == ["step 100", "step 200"]
