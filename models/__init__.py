"""What training and chat must agree on: base models, chat templates, tokenizer, precision. No torch at import."""
