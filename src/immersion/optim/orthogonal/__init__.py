"""What POGO and ManifoldMuon share: stacks of orthonormal columns, and the polar factor."""
