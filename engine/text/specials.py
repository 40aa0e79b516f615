"""The special tokens every Fledge tokenizer has from the start, and what each is for. They are never made from ordinary text."""

BEGIN = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
SYSTEM = "<|system|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
END = "<|end|>"
PAD = "<|pad|>"

SPECIAL_TOKENS = (BEGIN, END_OF_TEXT, SYSTEM, USER, ASSISTANT, END, PAD, "<think>", "</think>", "<answer>", "</answer>", "<tool_call>",
                  "</tool_call>", "<tool_result>", "</tool_result>", "<|reserved|>")

# What other people's tokenizers call the same things, likeliest first; used only where their own config does not say.
KNOWN_BEGIN = (BEGIN, "<s>", "<bos>", "<|startoftext|>", "[CLS]", "<|endoftext|>")
KNOWN_END_OF_TEXT = (END_OF_TEXT, "</s>", "<eos>", "<|endoftext|>", "[SEP]")
KNOWN_END = (END, "<|im_end|>", "<|eot_id|>", "<end_of_turn>")
KNOWN_PAD = (PAD, "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>")
