"""Hospitals as data: one TOML file each."""
