"""Text: tokenizers, languages and scripts, normal forms."""
