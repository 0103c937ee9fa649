from __future__ import annotations

from immersion.known.combined.power import Power
from immersion.known.combined.product import Product
from immersion.known.combined.scaled import Scaled
from immersion.known.combined.viewed import Viewed
from immersion.known.euclidean import Euclidean
from immersion.known.oblique import Oblique
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from laws.case import Case

CASES = [
    Case("Product(Sphere,Euclidean)", Product(Sphere(2), Euclidean(3))),
    Case(
        "Product-nested",
        Product(Product(Sphere(1, "exp"), Scaled(Sphere(2), 0.5)), Power(Torus(1), 2)),
    ),
    Case("Power(Oblique,2,1)", Power(Oblique(3, 2), 2, 1)),
    Case("Power(Product)", Power(Product(Sphere(1), Euclidean(1)), 3)),
    Case("Scaled(Sphere,3)", Scaled(Sphere(2), 3.0), reach=9.0),
    Case("Scaled(Scaled(Torus))", Scaled(Scaled(Torus(2), 4.0), 0.5), reach=6.0),
    Case("Viewed(Stiefel)-transposed", Viewed(Stiefel(4, 2), (2, 2, 2), transposed=True)),
    Case("Viewed(Euclidean)", Viewed(Euclidean(3, 2), (6,))),
    Case("Power(Viewed(Scaled))", Power(Viewed(Scaled(Oblique(2, 3), 2.0), (6,)), 2)),
]
