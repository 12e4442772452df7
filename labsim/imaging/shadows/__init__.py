"""Bodies as radiographs show them, one file a body part."""
