"""How `checkpoints/tiny` is made: tokenizer, generated data, training, evaluation."""
