"""Recipes: the multi-stage systems of the field, declared as lists of this package's own commands."""
