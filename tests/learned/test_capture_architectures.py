"""Capture over the architectures people have: one table, one oracle.

The oracle runs the model on each sample by itself, with hooks of its own: whatever a module puts
out in a batch of one belongs to that sample, however the model arranges its batches.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from immersion.learned.capture import capture

N = 7
Data = Tensor | dict[str, Tensor]


class Build(nn.Module):
    """A model from named parts and a forward function of (model, *inputs)."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


# --- vision ---------------------------------------------------------------------------------------


def vgg() -> nn.Module:
    def block(i: int, o: int) -> list[nn.Module]:
        return [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return Build(
        lambda m, x: m.classifier(m.features(x).flatten(1)),
        features=nn.Sequential(*block(3, 4), *block(4, 5)),
        classifier=nn.Sequential(nn.Linear(20, 6), nn.ReLU(True), nn.Dropout(), nn.Linear(6, 2)),
    )


def resnet() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        out = m.bn2(m.conv2(m.relu(m.bn1(m.conv1(x)))))
        out += x
        return m.fc(m.relu(out).mean((2, 3)))

    return Build(
        run,
        conv1=nn.Conv2d(3, 3, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(3),
        relu=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(3, 3, 3, padding=1, bias=False), bn2=nn.BatchNorm2d(3), fc=nn.Linear(3, 2),
    )  # fmt: skip


def preactivation() -> nn.Module:
    return Build(
        lambda m, x: x + m.conv2(torch.relu(m.bn2(m.conv1(torch.relu(m.bn1(x)))))),
        bn1=nn.BatchNorm2d(3), conv1=nn.Conv2d(3, 4, 3, padding=1),
        bn2=nn.BatchNorm2d(4), conv2=nn.Conv2d(4, 3, 3, padding=1),
    )  # fmt: skip


def densenet() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        for layer in m.layers:
            x = torch.cat([x, torch.relu(layer(x))], 1)
        return m.head(x.amax((2, 3)))

    layers = nn.ModuleList(nn.Conv2d(3 + 2 * i, 2, 3, padding=1) for i in range(3))
    return Build(run, layers=layers, head=nn.Linear(9, 2))


def unet() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        skip = m.down(x)
        return m.out(torch.cat([skip, m.up(m.mid(m.pool(skip)))], 1))

    return Build(
        run,
        down=nn.Conv2d(3, 4, 3, padding=1), pool=nn.AvgPool2d(2), mid=nn.Conv2d(4, 6, 1),
        up=nn.ConvTranspose2d(6, 4, 2, stride=2), out=nn.Conv2d(8, 1, 1),
    )  # fmt: skip


def mobilenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.ReLU6(inplace=True),
        nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip


def convnext() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        out = m.pw2(m.act(m.pw1(m.norm(m.dw(x).permute(0, 2, 3, 1)))))
        return x + out.permute(0, 3, 1, 2)

    return Build(
        run,
        dw=nn.Conv2d(3, 3, 3, padding=1, groups=3), norm=nn.LayerNorm(3),
        pw1=nn.Linear(3, 12), act=nn.GELU(), pw2=nn.Linear(12, 3),
    )  # fmt: skip


def vit() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        tokens = m.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([m.cls.expand(len(x), -1, -1), tokens], 1)
        return m.head(m.encoder(tokens)[:, 0])

    block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
    model = Build(
        run,
        patch=nn.Conv2d(3, 8, 4, 4),
        encoder=nn.TransformerEncoder(block, 2, enable_nested_tensor=False),
        head=nn.Linear(8, 2),
    )
    model.cls = nn.Parameter(torch.randn(1, 1, 8))
    return model


def encoder_block(prefix: str, tokens: int, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    wide = (tokens, width)
    names = {"norm1": wide, "self_attn": wide, "dropout1": wide, "norm2": wide}
    names |= {"linear1": (tokens, hidden), "dropout": (tokens, hidden)}
    names |= {"linear2": wide, "dropout2": wide}
    return {f"{prefix}.{name}": shape for name, shape in names.items()}


def swin() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        n = len(x)
        windows = m.embed(x).reshape(n, 4, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1)
        windows = windows.reshape(n * 4, 4, 4)
        return m.head(m.attn(windows, windows, windows)[0]).reshape(n, -1, 3).mean(1)

    return Build(
        run,
        embed=nn.Conv2d(3, 4, 2, 2),
        attn=nn.MultiheadAttention(4, 2, batch_first=True),
        head=nn.Linear(4, 3),
    )


def mixer() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        x = x + m.tokens(m.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + m.channels(x)

    def mlp(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, 6), nn.GELU(), nn.Linear(6, width))

    return Build(run, norm=nn.LayerNorm(4), tokens=mlp(5), channels=mlp(4))


def generator() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(5, 4, 2), nn.BatchNorm2d(4), nn.ReLU(True),
        nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


# --- sequences ------------------------------------------------------------------------------------


def attention(batch_first: bool) -> nn.Module:
    def run(m: Any, x: Tensor) -> Any:
        x = x if batch_first else x.transpose(0, 1)
        return m.attn(x, x, x)

    return Build(run, attn=nn.MultiheadAttention(4, 2, batch_first=batch_first))


def encoder_decoder() -> nn.Module:
    body = nn.Transformer(4, 2, 1, 1, 6, batch_first=True)
    return Build(lambda m, src, tgt: m.body(src, tgt), body=body)


def recurrent(kind: type[nn.RNNBase], batch_first: bool, bidirectional: bool = False) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        states = m.rnn(x if batch_first else x.transpose(0, 1))[0]
        return m.head(states[:, -1] if batch_first else states[-1])

    rnn = kind(4, 5, batch_first=batch_first, bidirectional=bidirectional)
    return Build(run, rnn=rnn, head=nn.Linear(10 if bidirectional else 5, 2))


def language_model() -> nn.Module:
    """Time-major, with all steps folded into the batch of the decoder: sample i every N rows."""

    def run(m: Any, tokens: Tensor) -> Tensor:
        states = m.rnn(m.embed(tokens.T))[0]
        logits = m.act(m.decoder(states.reshape(-1, 5)))
        return logits.reshape(tokens.shape[1], len(tokens), 9)[-1]

    return Build(run, embed=nn.Embedding(9, 4), rnn=nn.GRU(4, 5), decoder=nn.Linear(5, 9),
                 act=nn.Tanh())  # fmt: skip


def text() -> nn.Module:
    run = lambda m, tokens: m.head(m.embed(tokens).mean(1))  # noqa: E731
    return Build(run, embed=nn.Embedding(9, 4), head=nn.Linear(4, 2))


# --- outputs, sharing, routing --------------------------------------------------------------------


@dataclass
class ModelOutput:
    loss: Tensor | None
    logits: Tensor
    hidden: tuple[Tensor, ...]


def hugging() -> nn.Module:
    def run(m: Any, input_ids: Tensor, attention_mask: Tensor) -> ModelOutput:
        hidden = m.embed(input_ids) * attention_mask[..., None]
        return ModelOutput(None, m.head(hidden.sum(1)), (hidden,))

    return Build(run, embed=nn.Embedding(9, 4), head=nn.Linear(4, 3))


def autoencoder() -> nn.Module:
    def run(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        code = m.encoder(x)
        return m.decoder(code), code

    return Build(run, encoder=nn.Linear(6, 2), decoder=nn.Linear(2, 6))


def vae() -> nn.Module:
    def run(m: Any, x: Tensor) -> dict[str, Any]:
        both = m.encoder(x)
        return {"loss": None, "mean": both["mean"], "extra": [None, m.decoder(both["mean"])]}

    def encode(m: Any, x: Tensor) -> dict[str, Tensor | None]:
        return {"mean": x @ m.weight.T, "var": (x @ m.weight.T).exp(), "z": None}

    encoder = Build(encode)
    encoder.weight = nn.Parameter(torch.randn(2, 6))
    return Build(run, encoder=encoder, decoder=nn.Linear(2, 6))


def shared_thrice() -> nn.Module:
    return Build(lambda m, x: m.layer(m.layer(m.layer(x))), layer=nn.Linear(6, 6))


def tied() -> nn.Module:
    model = Build(
        lambda m, x: m.decoder(m.encoder(x)), encoder=nn.Linear(6, 6), decoder=nn.Linear(6, 6)
    )
    model.decoder.weight = model.encoder.weight
    return model


def two_names() -> nn.Module:
    layer = nn.Linear(6, 6)
    return Build(lambda m, x: m.second(m.act(m.first(x))), first=layer, act=nn.Tanh(), second=layer)


def containers() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        for layer in m.steps:
            x = m.choice["tanh"](layer(x))
        return x

    choice = nn.ModuleDict({"tanh": nn.Tanh(), "relu": nn.ReLU()})
    return Build(run, steps=nn.ModuleList([nn.Linear(6, 4), nn.Linear(4, 4)]), choice=choice)


def parametrized() -> nn.Module:
    conv = nn.utils.spectral_norm(nn.Conv1d(1, 2, 3))
    return nn.Sequential(
        spectral_norm(nn.Linear(6, 5)), weight_norm(nn.Linear(5, 4)), nn.Unflatten(1, (1, 4)), conv
    )


def siamese() -> nn.Module:
    return Build(
        lambda m, a, b: (m.encoder(a) - m.encoder(b)).norm(dim=1),
        encoder=nn.Sequential(nn.Linear(3, 4), nn.Tanh()),
    )


def experts() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        chosen = (m.router(x)[:, 0] > 0).long()
        out = torch.zeros(len(x), 3)
        for i, expert in enumerate(m.experts):
            out[chosen == i] = expert(x[chosen == i])
        return out

    experts = nn.ModuleList([nn.Linear(6, 3), nn.Linear(6, 3)])
    return Build(run, router=nn.Linear(6, 1, bias=False), experts=experts)


def sorting() -> nn.Module:
    """Hands its encoder the samples sorted, as packed sequences are."""

    def run(m: Any, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        return m.head(m.encoder(x[order])[order.argsort()])

    return Build(run, encoder=nn.Linear(6, 4), head=nn.Linear(4, 2))


def odd_types() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        return m.head(x) + m.number(x) + m.ids(x)[:, None] * m.truth(x)[:, None] + m.wave(x).abs()

    return Build(
        run,
        head=nn.Linear(6, 6),
        ids=Build(lambda m, x: x.argmax(1)),
        truth=Build(lambda m, x: x[:, 0] > 0),
        wave=Build(lambda m, x: torch.fft.fft(x)),
        number=Build(lambda m, x: 3),
    )


def skipping() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        x = m.early(x)
        if len(x) > 1:
            m.maybe(x)
        return m.last(x)

    return Build(run, early=nn.Linear(6, 6), maybe=nn.Tanh(), last=nn.Linear(6, 2))


def reshaping() -> nn.Module:
    """Puts out as many positions as the batch has samples."""

    def run(m: Any, x: Tensor) -> Tensor:
        m.grow(x[:, None].expand(-1, 4 if len(x) > 1 else 5, -1))
        return m.head(x)

    return Build(run, grow=nn.Linear(6, 2), head=nn.Linear(6, 2))


class Buffered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.arange(6.0))
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x * self.scale)


def parallel() -> nn.Module:
    model = nn.DataParallel(nn.Sequential(nn.Linear(6, 4), nn.ReLU()))
    # Several devices would run replicas, that is other modules than those with the hooks.
    model.device_ids = [0, 1]
    return model


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 3), nn.ReLU(True)))


MLP = {"0": (4,), "1": (4,), "2.0": (3,), "2.1": (3,)}


def scripted_part() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), torch.jit.script(mlp()), nn.Linear(3, 2))


def compiled_part() -> nn.Module:
    inner = torch.compile(mlp(), backend="aot_eager")
    return nn.Sequential(nn.Linear(6, 6), inner, nn.Linear(3, 2))


def compiled(model: nn.Module) -> nn.Module:
    wrapped = torch.compile(model, backend="aot_eager")
    wrapped(vectors())
    return wrapped


# --- the table ------------------------------------------------------------------------------------


def vectors(width: int = 6) -> Tensor:
    return torch.randn(N, width)


def images(side: int = 8) -> Tensor:
    return torch.randn(N, 3, side, side)


def sequences(steps: int = 5) -> Tensor:
    return torch.randn(N, steps, 4)


def tokens(steps: int = 5) -> Tensor:
    return torch.randint(0, 9, (N, steps))


@dataclass
class Case:
    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    shapes: Mapping[str, tuple[int, ...]]
    skipped: Mapping[str, str] = field(default_factory=dict)
    output: str = ""
    """Path of the model's output in what it returns."""
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model
    sizes: tuple[int, ...] = (3, 3, 1)
    tolerance: float = 2e-5


def rnn_case(kind: type[nn.RNNBase], batch_first: bool, bidirectional: bool = False) -> Case:
    state, ways = (10, 2) if bidirectional else (5, 1)
    shapes: dict[str, tuple[int, ...]] = {"rnn[0]": (5, state)}
    if kind is nn.LSTM:
        shapes |= {"rnn[1][0]": (ways, 5), "rnn[1][1]": (ways, 5)}
    else:
        shapes |= {"rnn[1]": (ways, 5)}
    build = lambda: recurrent(kind, batch_first, bidirectional)  # noqa: E731
    return Case(build, sequences, shapes | {"head": (2,)})


CASES: dict[str, Case] = {
    "MLP": Case(mlp, vectors, MLP),
    "one Linear": Case(lambda: nn.Linear(6, 2), vectors, {"(model)": (2,)}),
    "CNN": Case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                              nn.Linear(36, 2)),
        images,
        {"0": (4, 6, 6), "1": (4, 6, 6), "2": (4, 3, 3), "3": (36,), "4": (2,)},
    ),
    "VGG": Case(
        vgg, images,
        {"features.0": (4, 8, 8), "features.1": (4, 8, 8), "features.2": (4, 4, 4),
         "features.3": (5, 4, 4), "features.4": (5, 4, 4), "features.5": (5, 2, 2),
         "classifier.0": (6,), "classifier.1": (6,), "classifier.2": (6,), "classifier.3": (2,)},
    ),
    "ResNet, one ReLU in place": Case(
        resnet, images,
        {"conv1": (3, 8, 8), "bn1": (3, 8, 8), "relu#1": (3, 8, 8), "conv2": (3, 8, 8),
         "bn2": (3, 8, 8), "relu#2": (3, 8, 8), "fc": (2,)},
    ),
    "pre-activation ResNet": Case(
        preactivation, images,
        {"bn1": (3, 8, 8), "conv1": (4, 8, 8), "bn2": (4, 8, 8), "conv2": (3, 8, 8)},
    ),
    "DenseNet": Case(
        densenet, images, {**{f"layers.{i}": (2, 8, 8) for i in range(3)}, "head": (2,)}
    ),
    "U-Net": Case(
        unet, images,
        {"down": (4, 8, 8), "pool": (4, 4, 4), "mid": (6, 4, 4), "up": (4, 8, 8),
         "out": (1, 8, 8)},
    ),
    "MobileNet": Case(
        mobilenet, images,
        {**{str(i): (6, 8, 8) for i in range(6)}, "6": (3, 8, 8), "7": (3, 1, 1), "8": (3,),
         "9": (2,)},
    ),
    "ConvNeXt": Case(
        convnext, images,
        {"dw": (3, 8, 8), "norm": (8, 8, 3), "pw1": (8, 8, 12), "act": (8, 8, 12),
         "pw2": (8, 8, 3)},
    ),
    "ViT": Case(
        vit, images,
        {"patch": (8, 2, 2), **encoder_block("encoder.layers.0", 5, 8, 12),
         **encoder_block("encoder.layers.1", 5, 8, 12), "head": (2,)},
    ),
    "Swin, windows in the batch": Case(
        swin, images,
        {"embed": (4, 4, 4), "attn[0]": (4, 4, 4), "attn[1]": (4, 4, 4), "head": (4, 4, 3)},
    ),
    "MLP-Mixer": Case(
        mixer, sequences,
        {"norm": (5, 4), "tokens.0": (4, 6), "tokens.1": (4, 6), "tokens.2": (4, 5),
         "channels.0": (5, 6), "channels.1": (5, 6), "channels.2": (5, 4)},
    ),
    "GAN generator": Case(
        generator, lambda: torch.randn(N, 5, 1, 1),
        {"0": (4, 2, 2), "1": (4, 2, 2), "2": (4, 2, 2), "3": (1, 4, 4), "4": (1, 4, 4)},
    ),
    "1-D convolution": Case(
        lambda: nn.Sequential(nn.Conv1d(4, 3, 3), nn.ReLU()), lambda: torch.randn(N, 4, 9),
        {"0": (3, 7), "1": (3, 7)},
    ),
    "3-D convolution": Case(
        lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.MaxPool3d(2)),
        lambda: torch.randn(N, 1, 5, 5, 5),
        {"0": (2, 4, 4, 4), "1": (2, 2, 2, 2)},
    ),
    "attention, batch first": Case(
        lambda: attention(True), sequences, {"attn[0]": (5, 4), "attn[1]": (5, 5)}, output="[0]"
    ),
    "attention, sequence first": Case(
        lambda: attention(False), sequences, {"attn[0]": (5, 4), "attn[1]": (5, 5)}, output="[0]"
    ),
    "encoder and decoder": Case(
        encoder_decoder, lambda: {"src": sequences(5), "tgt": sequences(3)},
        {f"body.{name}": shape for name, shape in {
            **{f"encoder.layers.0.{part}": (5, 4) for part in ("self_attn", "dropout1", "norm1")},
            "encoder.layers.0.linear1": (5, 6), "encoder.layers.0.dropout": (5, 6),
            **{f"encoder.layers.0.{part}": (5, 4) for part in ("linear2", "dropout2", "norm2")},
            "encoder.norm": (5, 4),
            **{f"decoder.layers.0.{part}": (3, 4) for part in (
                "self_attn", "dropout1", "norm1", "multihead_attn", "dropout2", "norm2")},
            "decoder.layers.0.linear1": (3, 6), "decoder.layers.0.dropout": (3, 6),
            **{f"decoder.layers.0.{part}": (3, 4) for part in ("linear2", "dropout3", "norm3")},
            "decoder.norm": (3, 4),
        }.items()},
    ),
    "LSTM, batch first": rnn_case(nn.LSTM, True),
    "LSTM, time first": rnn_case(nn.LSTM, False),
    "LSTM, both ways": rnn_case(nn.LSTM, True, bidirectional=True),
    "GRU, batch first": rnn_case(nn.GRU, True),
    "GRU, time first": rnn_case(nn.GRU, False),
    "GRU, both ways, time first": rnn_case(nn.GRU, False, bidirectional=True),
    "language model, steps in the batch": Case(
        language_model, tokens,
        {"embed": (5, 4), "rnn[0]": (5, 5), "rnn[1]": (1, 5), "decoder": (5, 9), "act": (5, 9)},
    ),
    "text": Case(text, tokens, {"embed": (5, 4), "head": (2,)}),
    "EmbeddingBag": Case(
        lambda: nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2)), tokens,
        {"0": (4,), "1": (2,)},
    ),
    "autoencoder, tuple": Case(
        autoencoder, vectors, {"encoder": (2,), "decoder": (6,)}, output="[0]"
    ),
    "VAE, dictionary with None": Case(
        vae, vectors,
        {"encoder['mean']": (2,), "encoder['var']": (2,), "decoder": (6,)}, output="['mean']",
    ),
    "dataclass and keywords": Case(
        hugging, lambda: {"input_ids": tokens(), "attention_mask": torch.ones(N, 5)},
        {"embed": (5, 4), "head": (3,)}, output="['logits']",
    ),
    "called three times": Case(shared_thrice, vectors, {f"layer#{i}": (6,) for i in (1, 2, 3)}),
    "tied weights": Case(tied, vectors, {"encoder": (6,), "decoder": (6,)}),
    "one module, two names": Case(two_names, vectors, {"first#1": (6,), "act": (6,),
                                                       "first#2": (6,)}),
    "ModuleList and ModuleDict": Case(
        containers, vectors,
        {"steps.0": (4,), "choice.tanh#1": (4,), "steps.1": (4,), "choice.tanh#2": (4,)},
        {"choice.relu": "not called"},
    ),
    "parametrized weights": Case(
        parametrized, vectors, {"0": (5,), "1": (4,), "2": (1, 4), "3": (2, 2)}
    ),
    "siamese": Case(
        siamese, lambda: {"a": vectors(3), "b": vectors(3)},
        {"encoder.0#1": (4,), "encoder.1#1": (4,), "encoder.0#2": (4,), "encoder.1#2": (4,)},
    ),
    "mixture of experts": Case(
        experts, vectors, {"router": (1,)}, {"experts.0": "", "experts.1": ""}
    ),
    "samples sorted inside": Case(sorting, vectors, {"head": (2,)}, {"encoder": "another order"}),
    "integers, booleans, complex": Case(
        odd_types, vectors, {"head": (6,)},
        {"ids": "int64", "truth": "bool", "wave": "complex64", "number": "no tensor"},
    ),
    "a layer for some batches only": Case(
        skipping, vectors, {"early": (6,), "last": (2,)}, {"maybe": "6 of 7 samples"}
    ),
    "a layer that changes its shape": Case(
        reshaping, vectors, {"head": (2,)}, {"grow": "changes its shape"}
    ),
    "float64": Case(lambda: mlp().double(), lambda: vectors().double(), MLP, tolerance=1e-13),
    "bfloat16": Case(lambda: mlp().bfloat16(), lambda: vectors().bfloat16(), MLP, tolerance=3e-2),
    "buffers only": Case(Buffered, vectors, {"act": (6,)}),
    "no state at all": Case(lambda: nn.Sequential(nn.Tanh(), nn.Flatten()), vectors,
                            {"0": (6,), "1": (6,)}),
    "DataParallel": Case(parallel, vectors, {"module.0": (4,), "module.1": (4,)}),
    "compiled": Case(mlp, vectors, MLP, wrap=compiled),
    "compiled part": Case(
        compiled_part, vectors, {"0": (6,), **{f"1.{k}": v for k, v in MLP.items()}, "2": (2,)}
    ),
    "scripted": Case(mlp, vectors, {"(model)": (3,)}, wrap=torch.jit.script),
    "traced": Case(
        mlp, vectors, {"(model)": (3,)}, wrap=lambda model: torch.jit.trace(model, vectors())
    ),
    "frozen script": Case(
        mlp, vectors, {"(model)": (3,)},
        wrap=lambda model: torch.jit.freeze(torch.jit.script(model.eval())),
    ),
    "scripted part": Case(scripted_part, vectors, {"0": (6,), "1": (3,), "2": (2,)}),
}  # fmt: skip


# --- the oracle -----------------------------------------------------------------------------------


def parts(value: Any, path: str = "") -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {path: value}
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, tuple | list):
        items = list(enumerate(value))
    elif is_dataclass(value):
        items = [(f.name, getattr(value, f.name)) for f in fields(value)]
    else:
        items = []
    found: dict[str, Tensor] = {}
    for key, item in items:
        found |= parts(item, f"{path}[{key!r}]")
    return found


def alone(model: nn.Module, x: Data, i: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Everything that modules put out for sample i by itself, flattened, and the model's output."""
    calls: dict[str, list[Any]] = defaultdict(list)
    handles = []
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # it takes no hooks
        plain = name.replace("_orig_mod.", "") or "(model)"

        def hook(module: nn.Module, args: object, out: Any, plain: str = plain) -> None:
            # A copy, taken at once: an in-place operation may follow.
            calls[plain].append({k: v.detach().clone() for k, v in parts(out).items()})

        if id(module) not in seen:
            handles.append(module.register_forward_hook(hook))
        seen.add(id(module))
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        one = {k: v[i : i + 1] for k, v in x.items()} if isinstance(x, dict) else (x[i : i + 1],)
        out = model(**one) if isinstance(one, dict) else model(*one)
    for handle in handles:
        handle.remove()
    found: dict[str, Tensor] = {}
    if isinstance(model, nn.Sequential) and "1" not in calls:
        calls["1"].append({"": model[1](model[0](one[0])).detach()})
    for name, outs in calls.items():
        for k, out_parts in enumerate(outs, start=1):
            for path, tensor in out_parts.items():
                part = path if len(out_parts) > 1 else ""
                found[f"{name}{f'#{k}' if len(outs) > 1 else ''}{part}"] = tensor.flatten()
    return found, {k: v.flatten() for k, v in parts(out).items()}


def cut(x: Data, sizes: tuple[int, ...]) -> list[Data]:
    if isinstance(x, dict):
        pieces = {k: v.split(sizes) for k, v in x.items()}
        return [{k: v[i] for k, v in pieces.items()} for i in range(len(sizes))]
    return list(x.split(sizes))


def hooks_of(model: nn.Module) -> list[tuple[int, ...]]:
    return [
        (len(m._forward_hooks), len(m._forward_pre_hooks))
        for m in model.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_every_layer_of_every_architecture(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        eager = case.build()
        model = case.wrap(eager)
    x = case.data()
    if name != "frozen script":
        for k, module in enumerate(model.modules()):
            module.training = k % 2 == 0
    modes = [getattr(module, "training", False) for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = hooks_of(model)

    with capture(model, cut(x, case.sizes), pool="flatten") as found:
        assert {name: found[name].shape for name in found} == dict(case.shapes)
        assert list(found) == list(case.shapes)
        assert found.n == N
        skipped = dict(found.skipped)
        assert set(skipped) == set(case.skipped)
        assert all(word in skipped[layer] for layer, word in case.skipped.items()), skipped

        assert hooks_of(model) == hooks
        assert not global_hooks._global_forward_hooks
        assert not global_hooks._global_forward_pre_hooks
        assert modes == [getattr(module, "training", False) for module in model.modules()]
        assert all(parameter.grad is None for parameter in model.parameters())
        assert state.keys() == model.state_dict().keys()
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())

        if isinstance(eager, nn.DataParallel):
            assert eager.device_ids == [0, 1]
            eager.device_ids = []
        one_by_one = [alone(eager.eval(), x, i) for i in range(N)]
        wide = np.float64 if name == "float64" else np.float32
        for layer, recorded in found.items():
            assert recorded.activations.dtype == wide
            expected = torch.stack([inside[layer] for inside, _ in one_by_one])
            np.testing.assert_allclose(
                recorded.activations,
                expected.to(torch.from_numpy(recorded.activations).dtype),
                rtol=case.tolerance,
                atol=case.tolerance,
            )
        expected = torch.stack([out[case.output] for _, out in one_by_one]).to(torch.float64)
        np.testing.assert_allclose(found.output, expected, rtol=case.tolerance, atol=case.tolerance)
