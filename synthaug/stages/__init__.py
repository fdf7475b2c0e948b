"""The wiring: each stage reads the run folder, calls the parts, writes the run folder."""
