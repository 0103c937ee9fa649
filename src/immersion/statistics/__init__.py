"""Statistics on manifolds with geodesics: means, interpolation, principal geodesics, clusters."""
