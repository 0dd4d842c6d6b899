"""What type checkers see of the public names: test_public.py runs mypy over uses.py."""
