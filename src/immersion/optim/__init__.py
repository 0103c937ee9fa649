"""Optimisers: parameters of a module that stay on manifolds, and functions minimised on one."""
