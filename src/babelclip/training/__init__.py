"""Teaching: parallel text, teacher vectors, distillation of the text side, alignment of the image side."""
