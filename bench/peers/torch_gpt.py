#!/usr/bin/env python3
"""Tokens per second of PyTorch on one GPU: the models and batches of `bench/train_step --device cuda`.

    python3 bench/peers/torch_gpt.py [model ...] [--modes eager,default,max-autotune] [--json]

f32 parameters under bf16 autocast, F.scaled_dot_product_attention (the backend that was used is
printed), fused AdamW, clipping of the global norm; a step is forward, backward, clipping and
update on random tokens that lie on the GPU. No .item() within the timed steps. The best mode is the
one to compare with. Needs PyTorch 2.5 or newer with CUDA.
"""
import argparse
import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    sys.exit(f"{sys.executable} has no PyTorch of 2.5 or newer: {error}")

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def split_heads(x, heads):
    """(B,T,C) to (B,H,T,C/H)"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q, k, v):
    """Causal attention.  q, k, v: (B,H,T,D)   returns (B,T,C)"""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """Radford et al. 2019: learned positions, LayerNorm, biases, GELU, tied head."""

    def __init__(self, vocab, context, layers, width, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def rotate(x, cos, sin):
    """x: (B,H,T,D)   cos, sin: (T,D/2)"""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).type_as(x)


class LlamaBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(attend(rotate(q, cos, sin), rotate(k, cos, sin), v))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    """Touvron et al. 2023: RMSNorm, RoPE, SwiGLU, no biases."""

    def __init__(self, vocab, context, layers, width, heads, hidden, tied):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width, 1e-5)
        self.head = nn.Linear(width, vocab, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        size = width // heads
        angles = torch.outer(torch.arange(context), 10000.0 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


# Name: how to make it, sequences a step, tokens of each, vocabulary. As in bench/train_step.cc.
MODELS = {
    "gpt2-124m": (lambda: Gpt(50304, 1024, 12, 768, 12), 64, 1024, 50304),
    "gpt2-1.5b": (lambda: Gpt(50304, 1024, 48, 1600, 25), 16, 1024, 50304),
    "llama-1.3b": (lambda: Llama(32000, 2048, 22, 2048, 16, 5632, False), 8, 2048, 32000),
}
WARM_UP = 10


def measure(name, mode, backend, steps, batch):
    make, own_batch, context, vocab = MODELS[name]
    batch = batch or own_batch
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = make()
    for param in model.parameters():
        if param.dim() > 1:
            nn.init.normal_(param, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=True)
    run = model if mode == "eager" else torch.compile(model, mode=mode)
    ids = torch.randint(vocab, (batch, context + 1), device="cuda")

    def step():
        with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(BACKENDS[backend]):
            logits = run(ids[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    for _ in range(WARM_UP):
        loss = step()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    marks[0].record()
    for mark in marks[1:]:
        loss = step()
        mark.record()
    torch.cuda.synchronize()
    times = [a.elapsed_time(b) for a, b in zip(marks, marks[1:])]
    median = statistics.median(times)
    return {"model": name, "mode": mode, "attention": backend, "batch": batch, "context": context,
            "tokens_per_s": round(1e3 * batch * context / median, 1), "step_ms": round(median, 3),
            "step_ms_p10": round(sorted(times)[len(times) // 10], 3),
            "step_ms_p90": round(sorted(times)[len(times) * 9 // 10], 3),
            "loss_nats": round(loss.item(), 4),
            "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="model",
                        help=" or ".join(MODELS) + "; default: all")
    parser.add_argument("--modes", default="default,max-autotune",
                        help="of torch.compile, and eager for none")
    parser.add_argument("--attention", default="cudnn,flash", help="backends to try")
    parser.add_argument("--steps", type=int, default=50, help="timed steps")
    parser.add_argument("--batch", type=int, default=0, help="sequences a step; 0: the model's own")
    parser.add_argument("--json", action="store_true", help="a line of JSON each")
    options = parser.parse_args()
    for name in options.models:
        if name not in MODELS:
            parser.error(f"no model {name!r}: choose from {', '.join(MODELS)}")
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here")
    torch.set_float32_matmul_precision("high")
    head = f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}"
    if not options.json:
        print(head)
    for name in options.models or MODELS:
        for mode in options.modes.split(","):
            for backend in options.attention.split(","):
                torch._dynamo.reset()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                try:
                    r = measure(name, mode, backend, options.steps, options.batch)
                except (RuntimeError, torch.cuda.OutOfMemoryError) as error:
                    print(f"{name} {mode} {backend}: {str(error).splitlines()[0]}", file=sys.stderr)
                    continue
                if options.json:
                    print(json.dumps({"bench": "torch_gpt", "torch": head, **r}), flush=True)
                else:
                    print(f"{name} {mode} {backend}: {r['tokens_per_s']:.0f} tokens/s (B={r['batch']}, "
                          f"T={r['context']}, {r['step_ms']:.1f} ms a step, loss {r['loss_nats']})",
                          flush=True)


if __name__ == "__main__":
    main()
