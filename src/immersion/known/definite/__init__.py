"""Symmetric positive definite matrices under three metrics, and the matrix functions they need."""
