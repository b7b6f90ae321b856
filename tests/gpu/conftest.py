"""Tests on a GPU: `make test-gpu`. Without one they are skipped; CLIP4STR_TEST_DEVICE=cpu tries them on the CPU."""

import os

import pytest
import torch

from core.runtime.repeatable import WORKSPACE

os.environ.setdefault(*WORKSPACE)  # before any test uses cuBLAS
CHOSEN = os.environ.get("CLIP4STR_TEST_DEVICE", "cuda")


def pytest_collection_modifyitems(items):
    reason = "no GPU that torch can use is here; CLIP4STR_TEST_DEVICE=cpu tries the tests of tests/gpu on the CPU"
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)
            if CHOSEN == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def device() -> torch.device:
    return torch.device(CHOSEN)


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products in float32: TF32 has ten bits of mantissa, too few for a comparison to 1e-4."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
