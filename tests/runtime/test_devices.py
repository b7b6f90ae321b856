"""What nvidia-smi prints, and what an outer CUDA_VISIBLE_DEVICES leaves of it."""

import pytest

from core.errors import DeviceError
from core.runtime import devices
from core.runtime.devices import Gpu, parse, present, usable

TWO = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5e7f1b34-1111-2222-3333-444444444444)
"""
SPLIT = """GPU 0: A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: A100-SXM4-40GB (UUID: GPU-5e7f1b34-1111-2222-3333-444444444444)
"""
OLD = "  MIG 1g.5gb Device 0: (UUID: MIG-GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/7/0)\n"
FIRST, SECOND = (gpu.uuid for gpu in parse(TWO))
MIG_1, MIG_2 = parse(SPLIT)[0].instances


@pytest.fixture
def smi(tmp_path):
    """Makes an environment whose nvidia-smi prints what it is told."""

    def make(listing, status=0, **environment):
        program = tmp_path / "nvidia-smi"
        (tmp_path / "listing").write_text(listing)
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] || exit 2\ncat "{tmp_path}/listing"\nexit {status}\n')
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}", **environment}

    return make


def test_cards_and_their_instances_are_found(smi):
    assert parse(TWO) == [Gpu(FIRST, "NVIDIA A100-SXM4-40GB"), Gpu(SECOND, "NVIDIA A100-SXM4-40GB")]
    assert present(smi(SPLIT)) == [Gpu(FIRST, "A100-SXM4-40GB", (MIG_1, MIG_2)), Gpu(SECOND, "A100-SXM4-40GB")]
    assert parse(TWO.splitlines()[0] + "\n" + OLD)[0].devices == (f"MIG-{FIRST}/7/0",)
    assert usable(smi(SPLIT)) == [MIG_1, MIG_2, SECOND]


@pytest.mark.parametrize(
    ("outer", "left"),
    [
        ("0,1", [FIRST, SECOND]),
        ("1", [SECOND]),
        (" 1 , 0 ", [SECOND, FIRST]),
        ("1,1", [SECOND]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [FIRST]),
        ("NoDevFiles", []),
        (FIRST, [FIRST]),
        ("GPU-5e", [SECOND]),
        (f"{SECOND},0", [SECOND, FIRST]),
    ],
)
def test_an_outer_list_is_kept_to(smi, outer, left):
    assert usable(smi(TWO, CUDA_VISIBLE_DEVICES=outer)) == left


@pytest.mark.parametrize(
    ("outer", "left"), [(MIG_2, [MIG_2]), (f"{MIG_2},{MIG_1}", [MIG_2, MIG_1]), ("0", [MIG_1, MIG_2]), ("1", [SECOND])]
)
def test_instances_of_a_split_card_are_devices(smi, outer, left):
    assert usable(smi(SPLIT, CUDA_VISIBLE_DEVICES=outer)) == left


@pytest.mark.parametrize(
    ("outer", "said"),
    [
        ("0,7", rf"CUDA_VISIBLE_DEVICES=0,7: there is no GPU 7; there are 0 \({FIRST}\), 1"),
        ("GPU-5", f"several devices are called GPU-5; there are {FIRST}, {SECOND}"),
        ("GPU-9", "no device is called GPU-9"),
        ("MIG-1", "no device is called MIG-1"),
    ],
)
def test_an_outer_list_that_names_nothing_is_refused(smi, outer, said):
    with pytest.raises(DeviceError, match=said):
        usable(smi(TWO, CUDA_VISIBLE_DEVICES=outer))


def test_numbers_of_unlike_cards_need_an_order(smi):
    unlike = TWO.replace("NVIDIA A100-SXM4-40GB", "Quadro P400", 1)
    with pytest.raises(DeviceError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID if you mean nvidia-smi's numbers"):
        usable(smi(unlike, CUDA_VISIBLE_DEVICES="0"))
    assert usable(smi(unlike, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")) == [FIRST]
    assert usable(smi(unlike, CUDA_VISIBLE_DEVICES="GPU-5e")) == [SECOND]
    assert usable(smi(unlike)) == [FIRST, SECOND]


def test_machines_without_a_gpu(smi, tmp_path, monkeypatch):
    for status in (6, 9, 12):
        assert usable(smi("NVIDIA-SMI has failed\n", status, CUDA_VISIBLE_DEVICES="0")) == []
    assert usable(smi("No devices were found\n")) == []
    with pytest.raises(DeviceError, match="status 15: GPU is lost; list those that work, e.g. CLIP4STR_GPUS="):
        usable(smi("GPU is\nlost\n", 15))
    nothing = {"PATH": str(tmp_path / "nothing")}
    monkeypatch.setattr(devices, "has_cuda_driver", lambda: False)
    assert usable(nothing) == []
    monkeypatch.setattr(devices, "has_cuda_driver", lambda: True)
    with pytest.raises(DeviceError, match="a CUDA driver but no nvidia-smi to list its GPUs: put nvidia-smi on PATH"):
        usable(nothing)


def test_a_list_of_ones_own_is_believed(smi):
    environment = smi(TWO, CLIP4STR_GPUS="1, 3")
    assert usable(environment) == ["1", "3"]
    assert usable({**environment, "CUDA_VISIBLE_DEVICES": "3"}) == ["3"]
    with pytest.raises(DeviceError, match="no device is called 0; there are 1, 3"):
        usable({**environment, "CUDA_VISIBLE_DEVICES": "0"})
    assert usable(smi(TWO, CLIP4STR_GPUS="")) == []
    assert usable({"CLIP4STR_GPUS": "GPU-1,GPU-12", "CUDA_VISIBLE_DEVICES": "GPU-1"}) == ["GPU-1"]
