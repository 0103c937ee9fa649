from __future__ import annotations

import math

from immersion.known.simplex import Simplex
from immersion.known.sphere import Sphere
from laws.case import Case

CASES = [
    Case("Sphere(2)", Sphere(2), reach=math.pi),
    Case("Sphere(1)", Sphere(1), reach=math.pi),
    Case("Sphere(6)-exp", Sphere(6, "exp"), reach=math.pi),
    # Derivatives at a point with a small probability grow with its inverse root.
    Case("Simplex(4)-exp", Simplex(4, "exp"), conditioning=10),
    Case("Simplex(2)-softmax", Simplex(2, "softmax"), order=1, conditioning=10),
]
