"""The bi-encoder: what it is (`EncoderSpec`), where it comes from, how it runs and how it is saved."""
