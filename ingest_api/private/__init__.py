"""The private application: on 127.0.0.1, for the owner; it only translates HTTP into calls of `warehouse`."""
