"""Session + Artifact + BenchPlan -> Measurement."""
