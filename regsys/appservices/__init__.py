"""Application services: whose names are, and what the services ask of us (contract B3)."""
