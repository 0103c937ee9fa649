"""What stochastic Riemannian optimisers share: parameters by manifold, stepped together."""
