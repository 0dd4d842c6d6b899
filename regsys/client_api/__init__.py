"""What the client-server API means, without HTTP."""
