"""What training minimises: `build("distributed-margin", layout="column")` gives a `Loss` (interface: `base.py`).

The table below is all that listing and option checking need; torch is imported when a loss is built.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Iterable
from typing import Any

from ..core.errors import UsageError, unknown
from ..core.registry import Entry, Registry

_ARM = "Self-Distillation with Adaptive Relevance Margins, arXiv 2407.21515"

_TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("static-margin", "margins:StaticMargin", "E(s(q,d+) − s(q,d−) − m): one margin m for all pairs", _ARM),
    (
        "adaptive-margin",
        "margins:AdaptiveMargin",
        "E(s(q,d+) − s(q,d−) − (s(d+,d−)+1)/2): the pair's own similarity is the margin",
        _ARM,
    ),
    (
        "distributed-margin",
        "margins:DistributedMargin",
        "E(s(q,d+) − s(q,d−) − (s(d+,d')+1)/2) over all negatives d' of the batch",
        _ARM,
    ),
    (
        "infonce",
        "contrastive:InfoNCE",
        "−log softmax of s(q,d+)/τ among all documents of the batch",
        "van den Oord et al., arXiv 1807.03748",
    ),
    ("lce", "contrastive:LCE", "−log softmax of s(q,d+)/τ among the query's own documents", "Gao et al., ECIR 2021"),
    (
        "full-contrastive",
        "contrastive:FullContrastive",
        "InfoNCE with s(d+,q'), s(q,q') and s(d+,d') in the denominator too",
        "SimLM, arXiv 2207.02578",
    ),
    (
        "self-scaled",
        "contrastive:SelfScaled",
        "full-contrastive or infonce at τ = σ/√(2 ln n): the spread σ of the encoder's similarities as it starts",
        "ours",
    ),
    (
        "bixse",
        "contrastive:BiXSE",
        "binary cross entropy of σ(a·s(q,d) + b) with the grade of the query's own documents, else 0",
        "BiXSE, arXiv 2508.06781",
    ),
    (
        "margin-mse",
        "pairwise:MarginMSE",
        "(a·(s(q,d+) − s(q,d−)) − (t(q,d+) − t(q,d−)))²",
        "Hofstätter et al., arXiv 2010.02666",
    ),
    (
        "tas-b",
        "pairwise:DualSupervision",
        "margin-mse of the pair + α · margin-mse against the other documents of the batch",
        "TAS-B, arXiv 2104.06967",
    ),
    (
        "ranknet",
        "pairwise:RankNet",
        "log(1 + e^−(s(a)−s(b))/τ) over documents a, b with t(a) > t(b)",
        "Burges et al., ICML 2005",
    ),
    (
        "hinge-order",
        "pairwise:HingeOrder",
        "max(0, m − (s(a) − s(b))) over documents a, b with t(a) > t(b)",
        "LED, arXiv 2208.13661",
    ),
    (
        "lambda-mrr",
        "pairwise:LambdaMRR",
        "|1/rank(a) − 1/rank(b)| · log(1 + e^−(s(a)−s(b))/τ) over pairs that the teacher's best K order",
        "CL-DRD, arXiv 2204.13679",
    ),
    ("kl", "kl:KL", "Σ_d P_d log(P_d / Q_d), P = softmax(t), Q = softmax(s/τ)", "RocketQAv2, ColBERTv2, SimLM"),
    (
        "ckl",
        "kl:CKL",
        "KL with weights (1 − Q_d)^γ on positives and Q_d^(γ−β_d) on negatives",
        "Yang et al., arXiv 2406.05977",
    ),
    ("listnet", "kl:ListNet", "−Σ_d P_d log Q_d", "Cao et al., ICML 2007"),
    (
        "tct",
        "kl:TCT",
        "KL over all documents of the batch, the teacher at τ = 0.25",
        "TCT-ColBERT, RepL4NLP 2021",
    ),
    (
        "lwf",
        "kl:LearningWithoutForgetting",
        "τ² KL to the frozen copy of the encoder that it started as, the last teacher",
        "PROD, WWW 2023, arXiv 2209.13335",
    ),
    (
        "rankdistil",
        "listwise:RankDistil",
        "−log Plackett–Luce likelihood of rankings sampled from the teacher",
        "Reddi et al., AISTATS 2021",
    ),
    (
        "nkd",
        "listwise:NKD",
        "−T+ log S+ − γτ² Σ N(T) log N(S) over the others, N normalised without the positive",
        "NKD, ICCV 2023, arXiv 2303.13005",
    ),
    (
        "tf-nkd",
        "self_distillation:TeacherFreeNKD",
        "−(S+ + 1 − mean S+) log S+, the factor detached",
        "TF-NKD, arXiv 2208.10139",
    ),
    (
        "osakd",
        "self_distillation:NeighbourTargets",
        "−Σ_d P_d log Q_d, P uniform over the documents nearest to the positive",
        "OSAKD, ICME 2021",
    ),
    (
        "document-targets",
        "self_distillation:DocumentTargets",
        "Σ_d P_d log(P_d / Q_d), P = softmax of the documents' similarities to the positive",
        "ours",
    ),
    (
        "adaptive-softmax",
        "self_distillation:AdaptiveSoftmax",
        "infonce with (1 ± s(d+,d))/2 added to the scores of the others",
        "ours",
    ),
    (
        "ctkd",
        "adversarial:CurriculumTemperature",
        "T²·KL at a learned temperature T whose gradient is reversed",
        "CTKD, AAAI 2023, arXiv 2211.16231",
    ),
    (
        "ar2",
        "adversarial:AdversarialRetriever",
        "λ·Σ_d p_d log P(d+ before d) + (1−λ)·listnet: negatives that fool the ranker come first",
        "AR2, ICLR 2022, arXiv 2110.03611",
    ),
    (
        "ca-mkd",
        "teachers:ConfidenceWeighted",
        "Σ_k w_k τ² KL(teacher k), w_k from teacher k's cross entropy on the positive",
        "CA-MKD, ICASSP 2022, arXiv 2201.00007",
    ),
    (
        "mtd",
        "teachers:AgreementWeighted",
        "mean_k KL(teacher k), weighted by how far the teachers agree",
        "multi-teacher disagreement",
    ),
    (
        "cerberus",
        "teachers:MultiHead",
        "mean_h KL(teacher h ‖ head h over the shared encoder)",
        "CERBERUS, Findings of EMNLP 2022",
    ),
    (
        "embed-distill",
        "embeddings:EmbedDistill",
        "‖W q − q_T‖ + ‖W d − d_T‖: embeddings like the teacher's",
        "EmbedDistill, arXiv 2301.12005",
    ),
    (
        "comparative",
        "embeddings:Comparative",
        "‖(z_i − z_j) − (z_i − z_j)_T‖²: differences of embeddings like the teacher's",
        "Comparative Knowledge Distillation, arXiv 2311.02253",
    ),
    (
        "lelp",
        "pseudo_classes:PseudoClasses",
        "cross entropy with sub-classes found in the teacher's embeddings of pairs",
        "LELP, arXiv 2409.20449",
    ),
    (
        "lead",
        "layers:LayerDistill",
        "Σ_k w_k KL(teacher layer a_k ‖ student layer b_k) of scores from layer states",
        "LEAD, WSDM 2024, arXiv 2212.05225",
    ),
)

LOSSES = Registry(
    "loss",
    {name: Entry(f"pyserini_sdr.losses.{target}", formula, paper) for name, target, formula, paper in _TABLE},
)


def build(name: str, **options: Any) -> Any:
    """The loss called `name` with its options; `UsageError` for an unknown name, option or value."""
    cls = LOSSES.load(name)
    known = option_types(cls)
    for key in options:
        if key not in known:
            if not known:
                raise UsageError(f"loss {name!r} takes no options, got {key!r}")
            raise UsageError(f"{unknown(f'option of {name}', key, known)}")
    return cls(**{key: _convert(name, key, value, known[key]) for key, value in options.items()})


def option_types(cls: type) -> dict[str, Any]:
    """Option name → annotation of a loss class, from its constructor."""
    hints = typing.get_type_hints(cls.__init__)
    return {key: hints[key] for key in inspect.signature(cls).parameters}


def parse_losses(specs: Iterable[str], options: Iterable[str] = ()) -> list[tuple[Any, str, float]]:
    """`["distributed-margin:1", "infonce:0.1"]` and `["infonce.temperature=0.02"]` → `[(loss, name, weight), …]`."""
    chosen: dict[str, float] = {}
    for text in specs:
        name, colon, weight = text.partition(":")
        LOSSES[name]  # known?
        if name in chosen:
            raise UsageError(f"--loss {text}: {name} is given twice")
        try:
            chosen[name] = float(weight) if colon else 1.0
        except ValueError:
            raise UsageError(f"--loss {text}: the weight after ':' must be a number") from None
        if not math.isfinite(chosen[name]) or chosen[name] <= 0:
            raise UsageError(f"--loss {text}: the weight must be positive")
    settings: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for text in options:
        target, equals, value = text.partition("=")
        name, dot, key = target.rpartition(".")
        if not equals or not dot or not key:
            raise UsageError(f"--loss-option {text}: expected LOSS.option=value, as in infonce.temperature=0.05")
        if name not in chosen:
            raise UsageError(f"--loss-option {text}: {name!r} is not among the losses ({', '.join(chosen)})")
        if key in settings[name]:
            raise UsageError(f"--loss-option {text}: {name}.{key} is given twice")
        settings[name][key] = value
    return [(build(name, **settings[name]), name, weight) for name, weight in chosen.items()]


def _convert(name: str, key: str, value: Any, annotation: Any) -> Any:
    def fail(expected: str) -> typing.NoReturn:
        raise UsageError(f"--loss-option {name}.{key}={value}: expected {expected}")

    if typing.get_origin(annotation) is typing.Literal:
        choices = typing.get_args(annotation)
        if value not in choices:
            fail(f"one of {', '.join(choices)}")
        return value
    if annotation is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            fail("true or false")
        return words[str(value).lower()]
    try:
        converted = annotation(value)
    except (TypeError, ValueError):
        fail(f"a {annotation.__name__}")
    if isinstance(converted, float) and not math.isfinite(converted):
        fail("a finite number")
    return converted
