from __future__ import annotations

from immersion.known.euclidean import Euclidean
from immersion.known.oblique import Oblique
from immersion.known.torus import Torus
from laws.case import Case

CASES = [
    Case("Euclidean(1)", Euclidean(1)),
    Case("Euclidean(4,2)", Euclidean(4, 2)),
    Case("Oblique(3,2)", Oblique(3, 2), reach=3.0),
    Case("Oblique(2,1)", Oblique(2, 1), reach=3.0),
    Case("Oblique(4,3)-exp", Oblique(4, 3, retraction="exp"), reach=3.0),
    Case("Torus(3)", Torus(3), reach=3.0),
    Case("Torus(1)", Torus(1), reach=3.0),
]
