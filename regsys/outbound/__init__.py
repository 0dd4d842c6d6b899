"""What regsys asks of other servers, over HTTP."""
