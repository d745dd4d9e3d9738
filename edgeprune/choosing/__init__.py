"""[Measurement] + objectives -> ParetoFront -> Choice."""
