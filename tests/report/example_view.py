"""A realistic report without a network behind it: clusters that unfold layer by layer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from immersion.report import (
    CheckView,
    CurveView,
    Fact,
    FindingView,
    LayerMap,
    ReportView,
    Series,
    Suspect,
    Text,
    Thumbnails,
    thumbnails,
)

LAYERS = (
    "input",
    "stem.conv1",
    "stem.pool",
    "blocks.0.conv2",
    "blocks.0.relu",
    "blocks.1.conv2",
    "blocks.1.relu",
    "blocks.2.conv2",
    "blocks.2.relu",
    "head.pool",
    "head.hidden",
    "logits",
)
SCRIPT = "</script><script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
LONG = "features." + "0.submodule." * 24 + "weight_norm"
HOSTILE = (
    SCRIPT,
    IMAGE,
    "\"quotes\" and 'apostrophes' & ampersands",
    "اسم الصنف \u202e reversed",
    "猫和狗：带有很长的中文类别名",
    LONG,
    "{{ 7 * 7 }} ${alert(3)} {count}",
    "__proto__",
    "javascript:alert(4)",
    "new\nline\u2028and\ttab\x00nul",
)


def same(text: str) -> Text:
    """A name that is the same in both languages."""
    return Text(text, text)


CHECKS = (
    CheckView(
        "found",
        Text("Wrong labels", "错误标签"),
        Text(
            "40 of 5,000 samples (0.8%) have neighbours that agree on another label.",
            "5,000 个样本中有 40 个（0.8%）的近邻一致指向另一个标签。",
        ),
    ),
    CheckView(
        "clear",
        Text("Dead units", "失活单元"),
        Text(
            "Every unit of all 12 layers answers to some of the samples.",
            "全部 12 层的每个单元都会对某些样本作出响应。",
        ),
    ),
    CheckView(
        "undecided",
        Text("Sensitivity off the data", "偏离数据时的敏感性"),
        Text(
            "The data have no measurable tangent spaces: a neighbour left out of the fit lies in "
            "them by 31 ± 2% only. More samples may help.",
            "数据没有可测的切空间：未参与拟合的近邻只有 31 ± 2% 落在其中。更多样本也许有帮助。",
        ),
    ),
    CheckView(
        "inapplicable",
        Text("Tangled classes", "纠缠的类别"),
        Text("The data have no labels.", "数据没有标签。"),
    ),
)


def example_view(
    *,
    n: int = 5000,
    labelled: bool = True,
    pictured: bool = True,
    found: int = 5,
    hostile: bool = False,
) -> ReportView:
    """A report on `n` samples of ten classes in twelve layers; the same for the same arguments.

    `hostile` takes the names of classes, layers and paths from a corpus of attempted injections.
    """
    generator = np.random.default_rng(0)
    labels = np.sort(generator.integers(0, 10, n)).astype(np.int32)
    predictions = labels.copy()
    wrong = generator.choice(n, n // 40, replace=False)
    predictions[wrong] = (labels[wrong] + generator.integers(1, 10, len(wrong))) % 10
    layers = tuple(
        f"{index}: {HOSTILE[index % len(HOSTILE)]}" if hostile else layer
        for index, layer in enumerate(LAYERS)
    )
    classes = HOSTILE if hostile else tuple(str(digit) for digit in range(10))
    path = f"/data/{SCRIPT}/{LONG}.npz" if hostile else "/data/digits/validation.npz"
    suspects = _suspects(labels, predictions, wrong[:40], generator) if labelled else ()
    return ReportView(
        title=f"digits {IMAGE}" if hostile else "A small convolutional network on digits",
        headline=(
            Fact(Text("Samples shown", "显示的样本"), Text(f"{n:,} of 10,000", f"{n:,} / 10,000")),
            Fact(Text("Accuracy", "准确率"), same("97.5% ± 0.2")),
            Fact(Text("Layers", "层数"), same("12")),
            Fact(Text("Intrinsic dimension at the end", "末层的内在维数"), same("8.4 ± 0.2")),
            Fact(Text("Suspected labels", "可疑标签"), same(str(len(suspects)))),
        ),
        notes=(
            Text(
                f"{n:,} of 10,000 samples are shown, drawn by class (stratified), seed 0.",
                f"显示 10,000 个样本中的 {n:,} 个，按类别分层抽取，种子 0。",
            ),
            Text(
                "Checks that ran: intrinsic dimension, separability, neighbours' labels, "
                "sensitivity on and off the data.",
                "已运行的检查：内在维数、可分性、近邻标签、数据内外的敏感性。",
            ),
            Text(
                "The maps are projections: distances within a cluster are more faithful than "
                "distances between clusters.",
                "图是投影：簇内的距离比簇间的距离更可信。",
            ),
        ),
        findings=_findings(layers, labels, wrong, generator)[:found],
        checks=CHECKS,
        layers=layers,
        curves=_curves(generator),
        maps=_maps(layers, labels, wrong, predictions, generator),
        labels=labels if labelled else None,
        predictions=predictions if labelled else None,
        classes=classes if labelled else (),
        sample_ids=np.sort(generator.choice(max(10_000, 2 * n), n, replace=False)).astype(np.int64),
        thumbnails=_pictures(n) if pictured else None,
        suspects=suspects,
        provenance=(
            Fact(
                Text("Command", "命令"),
                same("immersion audit --model digits.net:build --weights w.safetensors"),
            ),
            Fact(Text("Data", "数据"), same(path)),
            Fact(Text("SHA-256 of the data", "数据的 SHA-256"), same("9f2c" * 16)),
            Fact(Text("Versions", "版本"), same("immersion 0.1.0, torch 2.13.0, Python 3.11")),
            Fact(Text("Seed", "种子"), same("0")),
            Fact(Text("Device", "设备"), same("cpu, 2 threads, float32")),
        ),
    )


def _maps(
    layers: tuple[str, ...],
    labels: NDArray[np.int32],
    wrong: NDArray[np.int64],
    predictions: NDArray[np.int32],
    generator: np.random.Generator,
) -> tuple[LayerMap, ...]:
    """From one tangle to ten separate, slightly curved clusters."""
    n = len(labels)
    seen = labels.copy()
    seen[wrong] = predictions[wrong]
    angle = 2 * np.pi * seen / 10
    centre = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.7 + 0.3 * (seen % 2))[:, None]
    along = generator.normal(size=(n, 1))
    across = generator.normal(size=(n, 1))
    tangent = np.stack([-np.sin(angle), np.cos(angle)], 1)
    normal = np.stack([np.cos(angle + 0.5), np.sin(angle + 0.5)], 1)
    arm = tangent * along * 0.16 + normal * (across * 0.035 + along**2 * 0.05)
    tangle = generator.normal(size=(n, 2)) @ np.array([[0.75, 0.2], [0.0, 0.45]])
    maps: list[LayerMap] = []
    for index, layer in enumerate(layers):
        share = (index / (len(layers) - 1)) ** 0.8
        drift = generator.normal(size=(n, 2)) * 0.03
        points = (1 - share) * (tangle + 0.35 * centre) + share * (centre + arm) + drift
        points -= points.min(0)
        xy = np.round(points * (65535 / points.max())).astype(np.uint16)
        caption = Text(
            f"t-SNE, perplexity 30. Trustworthiness {0.91 + 0.006 * index:.3f} ± 0.002: of the "
            "neighbours drawn, nearly all are neighbours in the layer.",
            f"t-SNE，困惑度 30。可信度 {0.91 + 0.006 * index:.3f} ± 0.002："
            "图中的近邻几乎都是该层中的近邻。",
        )
        maps.append(LayerMap(layer, xy, caption))
    return tuple(maps)


def _curves(generator: np.random.Generator) -> tuple[CurveView, ...]:
    depth = np.arange(len(LAYERS))

    def series(en: str, zh: str, values: NDArray[np.floating], error: float) -> Series:
        shown = [float(value) for value in values + generator.normal(size=len(values)) * error]
        return Series(Text(en, zh), tuple(shown), (error,) * len(shown))

    dimension = series(
        "TwoNN", "TwoNN", 13 + 9 * np.exp(-((depth - 3) ** 2) / 9) - depth * 0.6, 0.3
    )
    gaps = tuple(None if index in (2, 7) else v for index, v in enumerate(dimension.values))
    stderr = tuple(None if value is None else 0.3 for value in gaps)
    shuffled = Text("shuffled labels", "打乱的标签")
    flat = tuple(0.012 + 0.002 * np.sin(depth).astype(float))
    return (
        CurveView(
            "dimension",
            Text("Intrinsic dimension", "内在维数"),
            Text(
                "How many coordinates the data needs locally. Networks expand, then compress.",
                "数据在局部需要多少个坐标。网络先展开，再压缩。",
            ),
            Text("dimensions", "维"),
            (
                Series(dimension.label, gaps, stderr),
                series("maximum likelihood", "最大似然", np.array(dimension.values) + 0.8, 0.2),
            ),
        ),
        CurveView(
            "separability",
            Text("Separability", "可分性"),
            Text(
                "Capacity of the class manifolds: how many classes a linear readout could tell "
                "apart per dimension.",
                "类别流形的容量：线性读出每一维能区分多少个类别。",
            ),
            Text("classes per dimension", "类别/维"),
            (
                series("capacity", "容量", 0.02 + 0.17 / (1 + np.exp(-(depth - 7))), 0.006),
                Series(shuffled, flat, (0.002,) * len(flat), "null"),
            ),
        ),
        CurveView(
            "sensitivity",
            Text("Sensitivity", "敏感性"),
            Text(
                "Largest stretch of a small step, along the data and across it.",
                "一小步被拉伸的最大倍数：沿数据方向与垂直于数据方向。",
            ),
            Text("stretch", "拉伸"),
            (
                series("along the data", "沿数据", 1 + 0.15 * depth, 0.05),
                series("off the data", "数据之外", 1 + 1.5 * depth**2, 0.12),
                Series(same("not positive"), (0.0, -1.0, *(0.2,) * 10), (0.5,) * 12),
            ),
            "log",
        ),
        CurveView(
            "neighbours",
            Text("Neighbours of the same class", "同类近邻"),
            Text(
                "Share of the 15 nearest neighbours with the sample's own label.",
                "15 个最近邻中与样本标签相同的比例。",
            ),
            Text("share", "比例"),
            (
                series("same label", "同标签", 0.55 + 0.42 * (1 - np.exp(-depth / 3)), 0.004),
                Series(shuffled, (0.1,) * 12, (None,) * 12, "null"),
            ),
        ),
        CurveView(
            "per_class",
            Text("Intrinsic dimension of each class", "各类别的内在维数"),
            Text("Each class on its own.", "每个类别单独的维数。"),
            Text("dimensions", "维"),
            tuple(
                replace(
                    series(str(digit), str(digit), 6 + digit / 3 + 3 / (1 + depth), 0.4),
                    colour=digit,
                )
                for digit in range(10)
            ),
        ),
    )


def _findings(
    layers: tuple[str, ...],
    labels: NDArray[np.int32],
    wrong: NDArray[np.int64],
    generator: np.random.Generator,
) -> tuple[FindingView, ...]:
    pair = tuple(int(row) for row in np.flatnonzero((labels == 4) | (labels == 9))[:260])
    scattered = tuple(
        int(row) for row in generator.choice(len(labels), min(60, len(labels)), replace=False)
    )
    first = (
        FindingView(
            "labels",
            "high",
            Text("40 samples are probably mislabelled", "40 个样本很可能标错了"),
            Text(
                "In every layer from blocks.1 on, their neighbours agree on another class. If all "
                "are corrected, the measured accuracy rises by about 0.8 points.",
                "从 blocks.1 起的每一层，它们的近邻都一致属于另一个类别。"
                "全部改正后，测得的准确率约提高 0.8 个百分点。",
            ),
            Text(
                "Look at them in the table of suspicious samples; relabel or drop them, then train "
                "again.",
                "在可疑样本表中逐一查看；改标或删除后重新训练。",
            ),
            (
                Fact(
                    Text("Neighbours that disagree", "不一致的近邻"),
                    same("94% ± 1"),
                    same("9.8% ± 0.3"),
                ),
                Fact(Text("False discovery rate", "错误发现率"), same("5%")),
            ),
            layers[-2],
            tuple(int(row) for row in wrong[:40]),
        ),
        FindingView(
            "tangle",
            "high",
            Text(
                "Classes 4 and 9 stay tangled until the last block",
                "类别 4 和 9 直到最后一个块仍然纠缠",
            ),
            Text(
                "Their manifolds overlap in eleven of twelve layers. Most of the network's errors "
                "come from this pair.",
                "在 12 层中的 11 层，它们的流形互相重叠。网络的大多数错误来自这一对。",
            ),
            Text(
                "Add examples near the border, or train with a contrastive term on this pair.",
                "在边界附近增加样本，或对这一对加入对比损失。",
            ),
            (
                Fact(Text("Overlap", "重叠"), same("0.31 ± 0.02")),
                Fact(Text("Median of other pairs", "其他类别对的中位数"), same("0.04")),
            ),
            layers[8],
            pair,
        ),
        FindingView(
            "off-manifold",
            "medium",
            Text(
                "Off the data the network is three times as sensitive as along it",
                "网络在数据之外的敏感性是沿数据方向的三倍",
            ),
            Text(
                "Small steps that leave the data manifold change the output more than steps that "
                "stay on it: a sign of weak robustness.",
                "离开数据流形的一小步，比留在流形上的一小步更能改变输出：这是稳健性较弱的迹象。",
            ),
            Text(
                "Train with virtual adversarial smoothing (im.objectives.VirtualAdversarial, "
                "weight 0.3).",
                "用虚拟对抗平滑训练（im.objectives.VirtualAdversarial，权重 0.3）。",
            ),
            (Fact(Text("Ratio", "比值"), same("3.1 ± 0.2")),),
            layers[9],
        ),
        FindingView(
            "squeeze",
            "medium",
            Text("One layer discards a dimension it needs", "有一层丢掉了需要的维数"),
            Text(
                "Intrinsic dimension falls by four in one step, and separability falls with it.",
                "内在维数在一步之内下降 4，可分性也随之下降。",
            ),
            Text("Widen this layer, or add a skip connection.", "加宽这一层，或加入跳跃连接。"),
            (Fact(Text("Fall", "下降"), same("4.1 ± 0.4")),),
            layers[5],
            scattered,
        ),
        FindingView(
            "collapse",
            "info",
            Text("The last layer shows neural collapse", "最后一层出现神经坍缩"),
            Text(
                "Classes have shrunk to points at equal angles. This is usual after long training.",
                "各类别收缩成等角的点。长时间训练后这很常见。",
            ),
            Text(
                "Nothing, unless you transfer these features: then take them from head.pool.",
                "无需处理；若要迁移特征，请取自 head.pool。",
            ),
            (Fact(Text("NC1", "NC1"), same("0.021 ± 0.001")),),
            layers[-1],
        ),
    )
    more = tuple(
        FindingView(
            f"more-{index}",
            "info",
            Text(f"A minor observation {index}", f"次要观察 {index}"),
            Text("Within the usual range.", "在通常范围之内。"),
            Text("Nothing.", "无需处理。"),
        )
        for index in range(7)
    )
    return first + more


def _suspects(
    labels: NDArray[np.int32],
    predictions: NDArray[np.int32],
    rows: NDArray[np.int64],
    generator: np.random.Generator,
) -> tuple[Suspect, ...]:
    scores = np.sort(generator.uniform(0.6, 0.99, len(rows)))[::-1]
    found: list[Suspect] = []
    for row, score in zip(rows, scores, strict=True):
        agreeing = round(15 * float(score))
        why = Text(
            f"{agreeing} of 15 neighbours have another label, in 7 layers",
            f"15 个近邻中有 {agreeing} 个属于另一类，见于 7 层",
        )
        found.append(Suspect(int(row), int(labels[row]), int(predictions[row]), float(score), why))
    return tuple(found)


@cache
def _pictures(n: int) -> Thumbnails:
    """Grey digits in 28 x 28 pixels, each turned, moved and weighted a little differently."""
    generator = np.random.default_rng(1)
    labels = np.sort(np.random.default_rng(0).integers(0, 10, n))
    pictures = np.zeros((n, 28, 28), np.uint8)
    fonts = [ImageFont.load_default(size=size) for size in (20, 22, 24, 26)]
    for row in range(min(n, 5000)):
        image = Image.new("L", (28, 28))
        x, y = generator.uniform(-2, 2, 2)
        ImageDraw.Draw(image).text(
            (14 + x, 14 + y),
            str(labels[row]),
            fill=int(generator.integers(190, 256)),
            font=fonts[int(generator.integers(len(fonts)))],
            anchor="mm",
        )
        turned = image.rotate(float(generator.normal(0, 12)), Image.Resampling.BILINEAR)
        pictures[row] = np.asarray(turned)
    return thumbnails(pictures)
