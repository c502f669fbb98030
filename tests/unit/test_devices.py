import os
from pathlib import Path

import pytest
import torch

from genebert.devices import lease_gpus, pick_device, use_threads
from genebert.errors import GenebertError
from genebert.gpus import leased

needs_cpu_build = pytest.mark.skipif(
    torch.version.cuda is not None, reason="a CUDA build would look for the pretended GPUs"
)


@pytest.fixture
def no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-0)'\necho 'GPU 1: A (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.usefixtures("no_gpus")
def test_the_cpu_is_taken_loudly(capsys: pytest.CaptureFixture) -> None:
    assert pick_device() == "cpu"
    said = capsys.readouterr().err
    assert said.startswith("device: CPU, because nvidia-smi cannot be run")
    assert "\nfor a GPU: install" in said


@pytest.mark.usefixtures("no_gpus")
def test_a_gpu_that_is_required_is_missed() -> None:
    with pytest.raises(GenebertError, match=r"nvidia-smi cannot be run .*compute\.require_gpu is set"):
        pick_device(require_gpu=True)
    with pytest.raises(GenebertError, match="4 GPUs asked, none visible: nvidia-smi cannot be run"):
        lease_gpus(4)


@needs_cpu_build
@pytest.mark.usefixtures("two_gpus")
def test_a_torch_without_cuda_is_named(capsys: pytest.CaptureFixture) -> None:
    assert pick_device() == "cpu"
    said = capsys.readouterr().err
    assert "is built without CUDA, though 2 GPUs are visible" in said
    assert "install a CUDA build of torch" in said
    for ask in (lambda: pick_device(require_gpu=True), lambda: lease_gpus(2)):
        with pytest.raises(GenebertError, match="is built without CUDA"):
            ask()
    assert not leased()


@needs_cpu_build
@pytest.mark.usefixtures("two_gpus")
def test_a_worker_without_gpus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device() == "cpu"
    assert "device: CPU, because torch sees no GPU" in capsys.readouterr().err
    with pytest.raises(GenebertError, match="torch sees no GPU"):
        pick_device(require_gpu=True)


def test_determinism_is_for_the_cpu() -> None:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        use_threads(threads, "cuda")
        assert not torch.are_deterministic_algorithms_enabled()
        use_threads(threads, "cpu")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
