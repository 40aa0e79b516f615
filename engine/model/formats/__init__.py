"""Other programs' formats of whole models: folders of transformers, GGUF files, models in Ollama (hf.py knows names and shapes)."""
