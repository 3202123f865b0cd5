"""Loading a policy: base model, tokenizer and adapter."""
