"""The AI node: it looks at CT series of the thorax by itself."""
