"""The fair downstream comparison."""
