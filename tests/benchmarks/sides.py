"""Sides of a comparison with another library: processes of their own that take turns, so that a neighbour on the machine costs all of them
alike; and the 10M Llama that both train. It imports no library of either side before it is asked to."""

import argparse
import json
import os
import subprocess
import sys
import time

CONTEXT, VOCAB = 512, 8192
WIDTH, LAYERS, HEADS, MIDDLE = 320, 6, 8, 896
METHODS = ("full", "lora")
LORA = {"rank": 16, "alpha": 32.0}


class Turns:
    """Steps between two lines on stdin, so that sides alternate: each line gives the number of steps to do."""

    def __init__(self, warm):
        self.left, self.done, self.warm, self.started = warm, [], True, time.perf_counter()
        self.began = None

    def step_done(self, tokens):
        now = time.perf_counter()
        if not self.warm:
            self.done.append((tokens, now - self.began))
        self.left -= 1
        if self.left <= 0:
            print(json.dumps({"ready": True, "seconds": now - self.started, "steps": self.done}), flush=True)
            self.done, self.warm = [], False
            line = sys.stdin.readline()
            self.left = int(line or 0)
            if not self.left:
                sys.exit(0)
        self.began = time.perf_counter()


def take_turns(commands, rounds, steps, **environment):
    """{side: [(amount, seconds) of every timed step]} of {side: command}: processes start one after the other, then take turns. A side that
    does not run here is left out."""
    processes, done = {}, {}
    for side, command in commands.items():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, **environment})
        if _answer(process) is None:
            print(f"  {side}: does not run here ({process.stderr.read().strip().splitlines()[-1:]})")
            continue
        processes[side], done[side] = process, []
        process.stderr.close()
    for _ in range(rounds):
        for side, process in processes.items():
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            done[side] += _answer(process)["steps"]
    for process in processes.values():
        process.stdin.write("0\n")
        process.stdin.close()
        process.wait(timeout=60)
    return done


def _answer(process):
    while line := process.stdout.readline():
        if line.startswith('{"ready"'):
            return json.loads(line)
    return None


def rates(done):
    """{side: amount a second} over all timed steps."""
    return {side: sum(amount for amount, _ in steps) / sum(seconds for _, seconds in steps) for side, steps in done.items()}


def asked_of(description, arguments, **lists):
    """What a command line asks for: rounds, steps, methods, one side alone, and of each list the names that are wanted, at first all."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    for name, names in {"methods": METHODS, **lists}.items():
        parser.add_argument(f"--{name}", nargs="+", choices=tuple(names), default=list(names))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def holds(speeds, unit, wanted, digits=0):
    """Prints what each side makes, and whether ours is `wanted` times as fast as the best of the others."""
    width = max(map(len, speeds)) + 1
    for side, speed in speeds.items():
        print(f"  {side:{width}} {speed:8,.{digits}f} {unit}")
    ratio = speeds["ours"] / max(speed for side, speed in speeds.items() if side != "ours")
    print(f"  ratio to the best {ratio:.2f} (wanted {wanted:.2f})", flush=True)
    return ratio >= wanted


def verdict(good):
    """The exit code of a benchmark."""
    print("holds" if good else "DOES NOT HOLD")
    return 0 if good else 1


def use_processors():
    """Threads and seed of a side."""
    import torch

    from engine.training.devices import usable_processors
    torch.set_num_threads(usable_processors())
    torch.manual_seed(0)


def our_model():
    """The Llama as ours, computing in bfloat16."""
    import torch

    from engine.model.config import ModelConfig
    from engine.model.decoder import Decoder
    model = Decoder(ModelConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_layers=LAYERS, num_heads=HEADS, num_kv_heads=HEADS,
                                head_dim=WIDTH // HEADS, intermediate_size=MIDDLE, max_seq_len=CONTEXT), seed=0)
    model.compute_dtype = torch.bfloat16
    return model


def their_model():
    """The same Llama of transformers."""
    import transformers
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        intermediate_size=MIDDLE, max_position_embeddings=CONTEXT, tie_word_embeddings=True, use_cache=False, bos_token_id=1,
        eos_token_id=2, pad_token_id=0))


def their_words():
    """A tokenizer that a trainer accepts; the rows are ids already."""
    import tokenizers
    import transformers
    vocabulary = {f"t{i}": i for i in range(VOCAB)}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "t3")),
                                                pad_token="t0", bos_token="t1", eos_token="t2")


def their_lora():
    """LoRA of PEFT like ours."""
    from peft import LoraConfig
    return LoraConfig(r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def their_settings(folder, rows, rate):
    """What every trainer of TRL is told: `rows` in a batch, a fixed learning rate, no saving and no reports."""
    return dict(output_dir=folder, per_device_train_batch_size=rows, max_steps=10**6, learning_rate=rate, bf16=True, use_cpu=True,
                optim="adamw_torch_fused", report_to=[], save_strategy="no", logging_steps=10**5, dataloader_num_workers=0,
                disable_tqdm=True, lr_scheduler_type="constant", max_grad_norm=1.0, gradient_checkpointing=False)
