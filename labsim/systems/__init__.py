"""The systems of the hospital, one file or folder each."""
