"""What training and chat share: base models, chat templates, tokenizer, precision. No torch at import."""
