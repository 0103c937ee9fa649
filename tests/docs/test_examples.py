"""Every example runs, states an outcome, and measures what its page says it measures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
OUTCOME = re.compile(r"^outcome: (holds|does not hold|not decidable)$", re.MULTILINE)


def numbers(output: str, start: str) -> list[float]:
    """The numbers behind `start` on the one line that begins with it."""
    (line,) = [line for line in output.splitlines() if line.startswith(start)]
    return [float(number) for number in NUMBER.findall(line[len(start) :])]


def digit_manifolds(output: str) -> None:
    for digit in "0123456789":
        n, dimension, _, gaussian, _, shuffled, _ = numbers(output, f"{digit}  ")
        assert n == 500
        assert 7 < dimension < 18
        assert gaussian > 1.5 * dimension
        assert shuffled > 4 * dimension


def layers_part_classes(output: str) -> None:
    share = {
        (weights, layer): numbers(output, f"{weights:<9}{layer:<9}")[2]
        for weights in ("trained", "random")
        for layer in ("(input)", "relu3")
    }
    assert share["trained", "(input)"] == share["random", "(input)"]
    assert 0.17 < share["trained", "(input)"] < 0.24
    assert share["trained", "relu3"] < 0.03
    assert share["random", "relu3"] > 0.15
    assert numbers(output, f"{'trained':<9}{'relu3':<9}")[4] > 0.15, "the 2-D map loses neighbours"
    assert 0.88 < numbers(output, "input with permuted labels: ")[0] < 0.92


def off_the_data(output: str) -> None:
    assert 0.48 < numbers(output, "steepest, off the data")[0] < 0.74
    assert 0.14 < numbers(output, "steepest, along the data")[0] < 0.38
    assert numbers(output, "random (null)")[0] < 0.02
    ratio = numbers(output, "ratio of largest singular values, off / along:")[0]
    null = numbers(output, "the same with a random subspace (null):")[0]
    assert 1.8 < ratio < 2.9
    assert 6 < null < 8.5


def sphere_and_fold(output: str) -> None:
    area, stderr, exact, n = numbers(output, f"{'sphere':<14}area")
    assert n == 20_000
    assert abs(area - exact) < 4 * stderr < 0.4
    assert numbers(output, f"{'fold':<14}least singular value")[0] < 1e-3
    assert numbers(output, f"{'fold':<14}largest error of it")[0] < 1e-12
    assert numbers(output, f"{'sheet (null)':<14}least singular value")[0] == 1


def convolutions_are_local(output: str) -> None:
    correlation = "correlation with the pixel at the right, "
    assert 0.65 < numbers(output, f"{correlation}in place:")[0] < 0.85
    assert abs(numbers(output, f"{correlation}permuted (null):")[0]) < 0.08
    assert numbers(output, "ConvNet")[4] > 0.04
    assert abs(numbers(output, "dense")[4]) < 0.02


def audit_your_own_model(output: str) -> None:
    planted, clean = output.split("labels as they are (null)")
    assert re.search("found +wrong_labels", planted)
    assert re.search("clear +wrong_labels", clean)
    assert numbers(output, "of the suspects, wrong")[0] > 0.55
    assert numbers(output, "of the wrong, suspect")[0] > 0.55


def same_neighbors_everywhere(output: str) -> None:
    for cloud in ("digits", "normal, far from 0", "grid, full of ties"):
        _, *ours, _ = numbers(output, cloud)
        assert set(ours) == {0}
    assert numbers(output, "normal, far from 0")[-1] > 1000


def along_or_back(output: str) -> None:
    excess = {
        way: numbers(output, f"{way} excess ")[0]
        for way in ("along      SGD ", "back       SGD ", "along      Adam", "back       Adam")
    }
    assert max(excess.values()) < 0.6, "every way does learn"
    assert excess["along      Adam"] < 0.5 * excess["back       Adam"]
    assert numbers(output, "random (null)   excess ")[0] > 1.5
    for way in ("along      SGD ", "along      Adam"):
        assert numbers(output, f"{way} excess ")[-1] < 1e-6, "float32 points stay on the manifold"
    for way in ("penalty    SGD ", "penalty    Adam"):
        assert numbers(output, f"{way} excess ")[-1] > 0.1, "a penalty does not keep them there"


def distances_along_the_data(output: str) -> None:
    rolled, noisy, flat = (
        numbers(output, f"{name:<14} ") for name in ("rolled", "rolled, noisy", "flat (null)")
    )
    assert rolled[0] > 25 and noisy[0] > 25, "straight distances cut from turn to turn"
    assert rolled[2] < 2, "paths follow the sheet"
    assert noisy[2] > 10 > noisy[4], "a few shortcuts spoil paths, until they are pruned"
    assert 0 < noisy[6] < 0.002 * noisy[7]
    assert flat[0] == 0 and 0.5 < flat[2] < 3, "what paths cost where nothing is bent"


def where_it_is_no_manifold(output: str) -> None:
    for name in ("crossing discs", "cone", "disc "):
        small, _, area, error, wide, _ = numbers(output, name)[:6]
        assert area >= 0.95 and error < 0.01
        assert small > 0.9 and wide > 0.85
    for name in ("sphere (null)", "torus (null)"):
        flagged, _, samples, of = numbers(output, name)
        assert flagged < 0.1 and samples <= 2 and of == 10
    for kind in ("crossing discs   .*crossing", "cone .*tip", "disc .*boundary"):
        assert re.search(kind, output)


def your_own_manifold(output: str) -> None:
    power = "error falls with the power"
    assert 1.9 < numbers(output, f"retraction against x + u      {power}")[0] < 2.1
    assert 1.9 < numbers(output, f"cost along the retraction     {power}")[0] < 2.1
    assert 0.9 < numbers(output, f"without the metric (null)     {power}")[0] < 1.1
    for method in ("RiemannianAdam", "minimize, trust region"):
        _, above, off = numbers(output, method)
        assert abs(above) < 1e-8 and off < 1e-12
    assert numbers(output, "torch Adam (null)")[2] > 0.5


def wordnet_mammals(output: str) -> None:
    rank, precision, _ = numbers(output, "hyperbolic  ")
    assert rank < 1.26 and precision > 0.927
    for null in ("Euclidean (null)", "hyperbolic, permuted (null)"):
        assert numbers(output, null)[0] > 2 * rank


HOLDS, NOT = "holds", "does not hold"
EXPECTED: dict[str, tuple[list[str], Callable[[str], None]]] = {
    "along_or_back": ([NOT, HOLDS], along_or_back),
    "audit_your_own_model": ([HOLDS], audit_your_own_model),
    "convolutions_are_local": ([HOLDS], convolutions_are_local),
    "digit_manifolds": ([HOLDS], digit_manifolds),
    "distances_along_the_data": ([HOLDS], distances_along_the_data),
    "layers_part_classes": ([HOLDS], layers_part_classes),
    "off_the_data": ([HOLDS, NOT], off_the_data),
    "same_neighbors_everywhere": ([HOLDS], same_neighbors_everywhere),
    "sphere_and_fold": ([HOLDS], sphere_and_fold),
    "where_it_is_no_manifold": ([HOLDS], where_it_is_no_manifold),
    "wordnet_mammals": ([HOLDS], wordnet_mammals),
    "your_own_manifold": ([HOLDS], your_own_manifold),
}


def test_every_example_is_expected() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes, check = EXPECTED[name]
    assert OUTCOME.findall(done.stdout) == outcomes, done.stdout
    assert OUTCOME.fullmatch(done.stdout.splitlines()[-1])
    check(done.stdout)
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"
