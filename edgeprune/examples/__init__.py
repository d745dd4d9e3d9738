"""Small real data sets and models that ship."""
