"""The command `collection`: building and checking collection directories."""
