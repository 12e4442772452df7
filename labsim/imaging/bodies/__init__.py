"""Anatomy in space, one file a body part; modalities give it their values."""
