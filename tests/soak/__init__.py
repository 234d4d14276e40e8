"""A soak: many simulated clients, several server processes, and what befalls them, against a model."""
