"""Fine-tuning of GPT-2 on texts (causal language modeling), and generation."""
