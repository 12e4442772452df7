"""Thin views of the hospital for notebooks."""
