"""Reproductions: declared matrices of conditions and topics with the scores that are expected of them."""
