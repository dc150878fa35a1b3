"""The node behind the page of `web_view`."""
