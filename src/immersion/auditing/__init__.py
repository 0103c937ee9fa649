"""The audit: every measure on every layer, read into findings one can act on."""
