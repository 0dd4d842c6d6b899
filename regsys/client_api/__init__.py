"""The rules of the client-server API, without HTTP."""
