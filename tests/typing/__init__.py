"""The types of the public names: test_public.py runs mypy over uses.py."""
