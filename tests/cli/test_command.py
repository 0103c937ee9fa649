"""The command line as a person or a build uses it: exit codes, streams, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from immersion import __version__

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.hidden = nn.Linear(8, width)
        self.act = nn.ReLU()
        self.out = nn.Linear(width, 3)
    def forward(self, x):
        return self.out(self.act(self.hidden(x)))

def build(width=16):
    torch.manual_seed(0)
    return Net(width)

def explode():
    raise ValueError("no such size")

def number():
    return 3

ready = build()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a model, its weights and data."""
    (tmp_path / "nets.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = (np.eye(3, 8)[y] * 6 + rng.normal(size=(150, 8))).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    torch.manual_seed(1)
    sizes = {
        "hidden.weight": (16, 8),
        "hidden.bias": (16,),
        "out.weight": (3, 16),
        "out.bias": (3,),
    }
    save_file({k: torch.randn(s) for k, s in sizes.items()}, tmp_path / "w.safetensors")
    return tmp_path


def immersion(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "immersion", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "LANG": "C.UTF-8", "LC_ALL": "", **extra},
        check=False,
    )


BASE = ("audit", "--model", "nets:build", "--data", "data.npz")


def refused(folder: Path, *arguments: str) -> str:
    """The one line of an error of usage; nothing may have been written."""
    before = sorted(p.name for p in folder.rglob("*") if "__pycache__" not in p.parts)
    done = immersion(folder, *arguments, "--quiet")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("immersion: ")
    assert before == sorted(p.name for p in folder.rglob("*") if "__pycache__" not in p.parts)
    return done.stderr


def test_a_model_of_ones_own(folder: Path) -> None:
    done = immersion(folder, *BASE, "--weights", "w.safetensors", "--out", "r/deep")
    assert done.returncode == 0, done.stderr
    assert "r/deep/report.html" in done.stdout
    assert "150 samples of shape 8, float32" in done.stderr
    assert "3 classes" in done.stderr
    written = json.loads((folder / "r/deep/report.json").read_text())
    assert written["command"].startswith("immersion audit --model nets:build")
    assert [layer["name"] for layer in written["layers"]] == ["(input)", "hidden", "act", "out"]
    assert sorted(p.name for p in (folder / "r/deep").iterdir()) == ["report.html", "report.json"]


def test_json_on_standard_output_and_nothing_else(folder: Path) -> None:
    done = immersion(folder, *BASE, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == "immersion.audit/1"
    assert done.stdout == (folder / "immersion-report/report.json").read_text()
    assert "geometry:" in done.stderr


def test_the_same_seed_writes_the_same_bytes(folder: Path) -> None:
    results = [immersion(folder, *BASE, "--json", "--quiet", "--seed", "3").stdout for _ in "12"]
    assert results[0] == results[1]
    assert results[0]


def test_chinese(folder: Path) -> None:
    done = immersion(folder, *BASE, "--lang", "zh", "--quiet", PYTHONIOENCODING="utf-8")
    assert done.returncode == 0
    assert "报告" in done.stdout
    assert '<html lang="zh' in (folder / "immersion-report/report.html").read_text(encoding="utf-8")
    spoken = immersion(folder, *BASE, "--quiet", LANG="zh_CN.UTF-8", PYTHONIOENCODING="utf-8")
    assert "报告" in spoken.stdout


def test_gates(folder: Path) -> None:
    passed = immersion(folder, *BASE, "--quiet", "--fail-if", "hidden.two_nn>100")
    assert passed.returncode == 0
    failed = immersion(
        folder, *BASE, "--quiet", "--fail-if", "accuracy<0.999", "--fail-if", "findings.high<0"
    )
    assert failed.returncode == 1
    assert "accuracy < 0.999" in failed.stderr
    assert "findings.high" not in failed.stderr
    # The report is there to see why.
    assert (folder / "immersion-report/report.html").exists()


def test_arguments_of_the_factory(folder: Path) -> None:
    done = immersion(folder, *BASE, "--model-kwargs", '{"width": 5}', "--json", "--quiet")
    layers = json.loads(done.stdout)["layers"]
    assert next(layer["units"] for layer in layers if layer["name"] == "hidden") == 5


def test_no_pictures_when_asked(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "images.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    images = rng.integers(0, 255, (90, 8, 8)).astype(np.uint8)
    np.savez(folder / "i.npz", x=images, y=np.arange(90) % 3)
    arguments = ("audit", "--model", "images:build", "--data", "i.npz", "--quiet")
    page = folder / "immersion-report/report.html"
    assert immersion(folder, *arguments).returncode == 0
    assert "data:image/webp" in page.read_text(encoding="utf-8")
    assert immersion(folder, *arguments, "--no-images").returncode == 0
    assert "data:image/webp" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("audit", "--model", "nets:build"), "--data"),
        (("audit", "--data", "data.npz"), "--model"),
        (("audit", "--weights", "w.safetensors"), "--model"),
        (("audit", "--model", "nets", "--data", "data.npz"), "package.module:name"),
        (("audit", "--model", "netz:build", "--data", "data.npz"), "no module 'netz'"),
        (("audit", "--model", "nets:biuld", "--data", "data.npz"), "did you mean build"),
        (("audit", "--model", "nets:number", "--data", "data.npz"), "int"),
        (("audit", "--model", "nets:explode", "--data", "data.npz"), "no such size"),
        (("audit", "--model", "nets:ready", "--data", "dat.npz"), "data.npz"),
        ((*BASE, "--model-kwargs", "{width"), "JSON"),
        ((*BASE, "--model-kwargs", '{"depth": 3}'), "depth"),
        ((*BASE, "--weights", "missing.safetensors"), "missing.safetensors"),
        ((*BASE, "--weights", "data.npz"), ".npz"),
        ((*BASE, "--fail-if", "accuracy~3"), "metric<number"),
        ((*BASE, "--fail-if", "acuracy<3"), "accuracy"),
        ((*BASE, "--layers", "conv*"), "hidden, act, out"),
        ((*BASE, "--memory", "lots"), "800MB"),
        ((*BASE, "--samples", "1"), "samples"),
        ((*BASE, "--neighbors", "200"), "150 samples"),
        ((*BASE, "--device", "warp9"), "warp9"),
        ((*BASE, "--seed", "x"), "seed"),
        ((*BASE, "--sead", "3"), "--sead"),
        (("audti",), "audti"),
        ((*BASE, "--out", "data.npz/report"), "data.npz"),
    ],
)
def test_errors_of_usage_are_one_line(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(folder, *arguments)


def test_weights_that_do_not_fit_name_the_keys(folder: Path) -> None:
    save_file(
        {
            "hidden.weight": torch.zeros(16, 9),
            "hidden.bias": torch.zeros(16),
            "extra": torch.zeros(1),
        },
        folder / "other.safetensors",
    )
    said = refused(folder, *BASE, "--weights", "other.safetensors")
    for part in ("missing: out.bias, out.weight", "unexpected: extra", "(16, 9)", "(16, 8)"):
        assert part in said


def test_weights_of_a_wrapped_model_fit(folder: Path) -> None:
    from safetensors.torch import load_file

    wrapped = {f"module.{k}": v for k, v in load_file(folder / "w.safetensors").items()}
    save_file(wrapped, folder / "wrapped.safetensors")
    assert immersion(folder, *BASE, "--weights", "wrapped.safetensors").returncode == 0


def test_pickled_code_is_not_run(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (folder / "exploded",)  # pyright: ignore[reportReturnType]

    torch.save({"hidden.weight": Bomb()}, folder / "bomb.pt")
    assert "--unsafe-pickle" in refused(folder, *BASE, "--weights", "bomb.pt")
    assert not (folder / "exploded").exists()


def test_plain_tensors_in_a_pt_file_are_read(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save({"state_dict": load_file(folder / "w.safetensors")}, folder / "w.pt")
    assert immersion(folder, *BASE, "--weights", "w.pt").returncode == 0


def test_data_of_the_wrong_shape_show_expected_and_met(folder: Path) -> None:
    np.savez(folder / "wide.npz", x=np.zeros((50, 9), np.float32), y=np.arange(50) % 3)
    said = refused(folder, "audit", "--model", "nets:build", "--data", "wide.npz")
    assert "(2, 9)" in said
    assert "(n, ..., 8)" in said


def test_nan_in_data_says_where(folder: Path) -> None:
    x = np.zeros((50, 8), np.float32)
    x[31, 2] = np.nan
    np.savez(folder / "nan.npz", x=x, y=np.arange(50) % 3)
    assert "31" in refused(folder, "audit", "--model", "nets:build", "--data", "nan.npz")


def test_one_class_only(folder: Path) -> None:
    np.savez(folder / "one.npz", x=np.zeros((50, 8), np.float32), y=np.zeros(50, int))
    assert "'0'" in refused(folder, "audit", "--model", "nets:build", "--data", "one.npz")


def test_hostile_names_stay_on_one_line(folder: Path) -> None:
    said = refused(folder, "audit", "--model", "nets:a\nb\x1b[31m", "--data", "data.npz")
    assert "\x1b" not in said


def test_internal_errors_are_told_apart(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(
        "import immersion.auditing.run as run\n"
        "def broken(*args, **kwargs):\n    raise ZeroDivisionError('inside')\n"
        "run.audit = broken\n"
    )
    done = immersion(folder, *BASE, "--quiet", PYTHONPATH=str(folder))
    assert done.returncode == 3
    assert "ZeroDivisionError: inside" in done.stderr
    assert "Traceback" not in done.stderr
    debugged = immersion(folder, *BASE, "--quiet", "--debug", PYTHONPATH=str(folder))
    assert "Traceback" in debugged.stderr


@pytest.mark.parametrize("delay", [0.1, 0.5, 1.2])
def test_an_interrupt_leaves_nothing_behind(
    folder: Path, delay: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At any moment: while kernels compile (the cache is empty), while they run."""
    before = sorted(p.name for p in folder.iterdir())
    cache = tmp_path_factory.mktemp("numba")
    with subprocess.Popen(
        [sys.executable, "-m", "immersion", "audit", "--out", "report"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "NUMBA_CACHE_DIR": str(cache)},
    ) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        while not running.stderr.readline().startswith("layers:"):
            assert running.poll() is None
        time.sleep(delay)
        running.send_signal(signal.SIGINT)
        said, printed = running.stderr.read(), running.stdout.read()
    assert running.returncode == 130
    assert printed == ""
    assert said.splitlines()[-1] == "immersion: interrupted; nothing was written"
    assert before == sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")


def test_what_an_interrupt_leaves_half_built_is_freed_in_silence(folder: Path) -> None:
    """As the values of a compiler are, whose destructors rely on what was never set."""
    (folder / "sitecustomize.py").write_text(
        "import signal\nimport immersion.auditing.run as run\n"
        "class HalfBuilt:\n    def __del__(self):\n        self.never_set\n"
        "def interrupted(*args, **kwargs):\n"
        "    value = HalfBuilt()\n    value.itself = value\n"
        "    other = HalfBuilt()\n    signal.raise_signal(signal.SIGINT)\n"
        "run.audit = interrupted\n"
    )
    done = immersion(folder, *BASE, "--quiet", PYTHONPATH=str(folder))
    assert done.returncode == 130
    assert done.stderr == "immersion: interrupted; nothing was written\n"


def test_version_and_help_need_no_torch(folder: Path) -> None:
    assert immersion(folder, "--version").stdout.strip() == __version__
    probe = (
        "import sys\nfrom immersion.cli import run\n"
        "code = run(['audit', '--help'])\n"
        "print(code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stdout.splitlines()[-1] == "0 False False"
    for option in ("--model", "--weights", "--data", "--layers", "--out", "--seed", "--device"):
        assert option in done.stdout


def test_help_is_quick(folder: Path) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        immersion(folder, "--help")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) <= 0.4
