"""The Llama 2 decoder with its heads, and weights in and out of Hugging Face folders."""
