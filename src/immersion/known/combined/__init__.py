"""Manifolds made of others: products, powers, rescaled and reshaped ones."""
