"""Log levels of the Hugging Face libraries during training."""

import logging

import transformers


def silence_libraries() -> None:
    """Restrict the output of transformers and sentence-transformers to errors."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
