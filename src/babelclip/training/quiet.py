"""Keeping the reports and bars of Hugging Face's libraries out of the output."""

import logging

import transformers


def silence() -> None:
    """Let transformers and sentence-transformers say nothing but errors."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
