from __future__ import annotations

from immersion.known.definite.bures_wasserstein import BuresWassersteinSPD
from immersion.known.definite.log_euclidean import LogEuclideanSPD
from immersion.known.definite.spd import SPD
from immersion.known.fixed_rank import FixedRank
from immersion.known.simplex import Simplex
from laws.case import Case

# The condition numbers of random matrices are the factor on rounding: up to about exp(2 sqrt(2 n)).
CASES = [
    Case("SPD(1)", SPD(1)),
    Case("SPD(3)", SPD(3), conditioning=10),
    Case("SPD(4)-exp", SPD(4, "exp"), conditioning=10),
    Case("LogEuclideanSPD(1)", LogEuclideanSPD(1)),
    Case("LogEuclideanSPD(3)", LogEuclideanSPD(3), conditioning=10),
    Case("BuresWassersteinSPD(1)", BuresWassersteinSPD(1)),
    Case("BuresWassersteinSPD(3)", BuresWassersteinSPD(3), conditioning=10),
    # The least singular value of a point is the radius of the manifold there.
    Case("FixedRank(4,3,2)", FixedRank(4, 3, 2), reach=0.3, conditioning=10),
    Case("FixedRank(2,5,1)", FixedRank(2, 5, 1), reach=0.3, conditioning=10),
    Case("FixedRank(2,2,2)", FixedRank(2, 2, 2), reach=0.3, conditioning=10),
    Case("FixedRank(14,12,1)", FixedRank(14, 12, 1), reach=0.3, conditioning=10),
    Case("Simplex(1)-polar", Simplex(1), conditioning=10),
    Case("Simplex(3)-polar", Simplex(3), conditioning=10),
]
