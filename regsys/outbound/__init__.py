"""What regsys asks of other servers, over HTTP, and the mails that it hands to one."""
