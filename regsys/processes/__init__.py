"""The processes of ``regsys serve``: what each serves, and the parent of several."""
