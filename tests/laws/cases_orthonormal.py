from __future__ import annotations

import math

from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from laws.case import Case

CASES = [
    Case("Stiefel(5,3)-polar", Stiefel(5, 3), reach=3.0),
    Case("Stiefel(5,2)-qr", Stiefel(5, 2, "qr"), order=1, reach=3.0),
    Case("Stiefel(4,2)-cayley", Stiefel(4, 2, "cayley"), order=1, reach=3.0),
    Case("Stiefel(4,3)-exp", Stiefel(4, 3, "exp"), reach=3.0),
    Case("Stiefel(3,1)-polar", Stiefel(3, 1), reach=3.0),
    Case("Stiefel(2,1)-qr", Stiefel(2, 1, "qr"), reach=3.0),
    Case("Stiefel(3,3)-polar", Stiefel(3, 3), reach=3.0),
    Case("Stiefel(3,3)-cayley", Stiefel(3, 3, "cayley"), reach=3.0),
    Case("Stiefel(2,2)-exp", Stiefel(2, 2, "exp"), reach=3.0),
    Case("CanonicalStiefel(5,2)-polar", CanonicalStiefel(5, 2), order=1, reach=3.0),
    Case("CanonicalStiefel(5,3)-qr", CanonicalStiefel(5, 3, "qr"), order=1, reach=3.0),
    Case("CanonicalStiefel(5,3)-cayley", CanonicalStiefel(5, 3, "cayley"), reach=3.0),
    Case("CanonicalStiefel(4,2)-exp", CanonicalStiefel(4, 2, "exp"), reach=3.0),
    Case("CanonicalStiefel(3,2)-cayley", CanonicalStiefel(3, 2, "cayley"), reach=3.0),
    Case("CanonicalStiefel(3,1)-cayley", CanonicalStiefel(3, 1, "cayley"), reach=3.0),
    Case("CanonicalStiefel(3,3)-polar", CanonicalStiefel(3, 3), reach=3.0),
    Case("Grassmann(5,2)-polar", Grassmann(5, 2), quotient=True),
    Case("Grassmann(4,3)-qr", Grassmann(4, 3, "qr"), quotient=True),
    Case("Grassmann(4,2)-exp", Grassmann(4, 2, "exp"), quotient=True),
    Case("Grassmann(3,1)-polar", Grassmann(3, 1), quotient=True),
    Case("Rotations(3)-polar", Rotations(3), reach=math.pi),
    Case("Rotations(4)-qr", Rotations(4, "qr"), order=1, reach=math.pi),
    Case("Rotations(3)-cayley", Rotations(3, "cayley"), reach=math.pi),
    Case("Rotations(4)-exp", Rotations(4, "exp"), reach=math.pi),
    Case("Rotations(2)-polar", Rotations(2), reach=math.pi),
]
