"""The private application for the site owner, on 127.0.0.1. It translates HTTP requests into calls of `warehouse`."""
