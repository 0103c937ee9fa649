"""Shape of a sampled manifold: tangent spaces, curvature, reach, distance of a point to it."""
