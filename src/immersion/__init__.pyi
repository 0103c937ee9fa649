"""The public names; this file is also what the package loads lazily from."""

from . import datasets as datasets
from . import models as models
from .auditing.gates import Gate as Gate
from .auditing.result import Audit as Audit
from .auditing.run import audit as audit
from .auditing.thresholds import Thresholds as Thresholds
from .core.errors import ImmersionError as ImmersionError
from .core.measurement import Measurement as Measurement
from .core.metric import GeodesicManifold as GeodesicManifold
from .core.metric import Manifold as Manifold
from .core.metric import Metric as Metric
from .embed.pca import pca as pca
from .learned.capture import Capture as Capture
from .learned.capture import capture as capture
from .learned.immersion import Immersion as Immersion
from .measure.agreement import label_agreement as label_agreement
from .measure.dimension import against_shuffled as against_shuffled
from .measure.dimension import mle_dimension as mle_dimension
from .measure.dimension import two_nn as two_nn
from .measure.sensitivity import off_manifold_sensitivity as off_manifold_sensitivity
from .measure.spectrum import spectrum as spectrum
from .sampled.graph import Exact as Exact
from .sampled.graph import NeighborGraph as NeighborGraph
from .sampled.graph import neighbor_graph as neighbor_graph
from .sampled.tangents import local_tangents as local_tangents

__version__: str
