"""Modules of others, loaded into this process (contract B10): ``loader`` makes them, ``api`` is
what each gets, ``registry`` says which callbacks there are."""
