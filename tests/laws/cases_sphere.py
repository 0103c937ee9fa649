from __future__ import annotations

import math

from immersion.known.sphere import Sphere
from laws.case import Case

CASES = [
    Case("Sphere(2)", Sphere(2), reach=math.pi),
    Case("Sphere(1)", Sphere(1), reach=math.pi),
    Case("Sphere(6)-exp", Sphere(6, "exp"), reach=math.pi),
]
