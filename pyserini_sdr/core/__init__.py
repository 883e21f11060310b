"""Errors, files, options, manifests and runtime tuning: what every command needs. Imports no torch."""
