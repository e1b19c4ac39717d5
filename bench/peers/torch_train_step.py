#!/usr/bin/env python3
"""Tokens per second of PyTorch on the CPU, eager, f32: the models and batches of bench/train_step.

    OMP_NUM_THREADS=2 /usr/bin/python3 bench/peers/torch_train_step.py [model ...] [--json]

A step is forward, backward, clipping of the global norm and AdamW on random tokens. Needs PyTorch
(Debian: python3-torch python3-numpy libopenblas0-pthread; without the last one its matrix products
are the reference ones, a hundred times slower). OpenBLAS takes newer Intel processors for one of
2004 and is ten times slower than it can be. On a processor with AVX-512 this script sets
OPENBLAS_CORETYPE=SkylakeX unless it is set. Try it without OMP_NUM_THREADS too and take the better.
"""
import argparse
import json
import os
import sys
import time


def choose_blas_kernels():
    """OpenBLAS reads its choice when it is loaded, so this comes before the import of torch."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return
    try:
        with open("/proc/cpuinfo", encoding="ascii") as info:
            flags = next((line for line in info if line.startswith("flags")), "").split()
    except OSError:
        return
    if "avx512f" in flags:
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


choose_blas_kernels()
try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    sys.exit(f"{sys.executable} has no PyTorch; on Debian: apt-get install python3-torch "
             "python3-numpy, then run this with /usr/bin/python3")


def attend(q, k, v):
    """Causal attention.  q, k, v: (B,H,T,D)"""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return F.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v


def split_heads(x, heads):
    """(B,T,C) to (B,H,T,C/H)"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """Radford et al. 2019: learned positions, LayerNorm, biases, GELU, tied head."""

    def __init__(self, vocab, tokens, layers, width, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


def rotate(x, cos, sin):
    """x: (B,H,T,D)   cos, sin: (T,D/2)"""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class LlamaBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        mixed = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    """Touvron et al. 2023: RMSNorm, RoPE, SwiGLU, no biases; here with a tied head."""

    def __init__(self, vocab, tokens, layers, width, heads, hidden):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, hidden) for _ in range(layers))
        self.norm = RmsNorm(width)
        size = width // heads
        angles = torch.outer(torch.arange(tokens), 10000.0 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.norm(x) @ self.tokens.weight.T


def require_fast_blas():
    torch.ones(2, 2) @ torch.ones(2, 2)
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        libraries = maps.read()
    if "openblas" not in libraries and "mkl" not in libraries:
        sys.exit("PyTorch multiplies matrices with the reference BLAS: apt-get install "
                 "libopenblas0-pthread")


MODELS = {
    "gpt2-124m": (lambda: Gpt(vocab=50304, tokens=256, layers=12, width=768, heads=12), 4, 50304),
    "llama-14m": (
        lambda: Llama(vocab=8192, tokens=256, layers=6, width=384, heads=6, hidden=1024), 8, 8192),
}
TOKENS = 256  # of a sample


def measure(name, steps):
    make, batch, vocab = MODELS[name]
    torch.manual_seed(1)
    model = make()
    for param in model.parameters():
        if param.dim() > 1:
            nn.init.normal_(param, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    ids = torch.randint(vocab, (batch, TOKENS + 1))
    seconds = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    best = min(seconds[1:])
    return {"model": name, "parameters": sum(p.numel() for p in model.parameters()),
            "batch": batch, "tokens": TOKENS, "step_ms": round(1e3 * best, 3),
            "tokens_per_s": round(batch * TOKENS / best, 3), "loss_nats": round(loss.item(), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="model",
                        help=" or ".join(MODELS) + "; default: all")
    parser.add_argument("--steps", type=int, default=3, help="timed steps; the best one counts")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    for name in options.models:
        if name not in MODELS:
            parser.error(f"no model {name!r}: choose from {', '.join(MODELS)}")
    if options.steps < 1:
        parser.error(f"--steps is {options.steps}, need 1 or more")
    require_fast_blas()
    results = [measure(name, options.steps) for name in options.models or MODELS]
    blas = os.environ.get("OPENBLAS_CORETYPE", "not set")
    if options.json:
        print(json.dumps({"bench": "torch_train_step", "torch": torch.__version__,
                          "threads": torch.get_num_threads(), "openblas_coretype": blas,
                          "results": results}))
        return
    print(f"PyTorch {torch.__version__}, eager, f32, {torch.get_num_threads()} threads, "
          f"OPENBLAS_CORETYPE {blas}")
    for r in results:
        print(f"{r['model']}: {r['tokens_per_s']:.1f} tokens/s (B={r['batch']}, T={r['tokens']}, "
              f"{r['step_ms']:.0f} ms a step, {r['parameters'] / 1e6:.1f}M parameters)")


if __name__ == "__main__":
    main()
