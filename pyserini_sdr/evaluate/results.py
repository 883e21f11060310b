"""What an evaluation found: one object from which tables and reports are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..anserini.stock import trec_eval_commands
from ..trec.measures import RunCounts
from ..trec.names import parse
from ..trec.significance import Equivalence
from .presets import PRESETS

SIGNIFICANT = 0.05

Test = Literal["t-test", "randomization"]
Correction = Literal["holm", "bonferroni", "none"]


@dataclass
class SeedResult:
    """One of several runs of a system that differ in their seed only.

    Attributes:
        values: measure → query id → value, for every judged topic.
        means: measure → mean over all judged topics.
    """

    path: str
    counts: RunCounts
    values: dict[str, dict[str, float]]
    means: dict[str, float]


@dataclass(frozen=True)
class Spread:
    """Spread of the means of a system's seeds; `sd` is the sample standard deviation."""

    sd: float
    min: float
    max: float


@dataclass
class RunResult:
    """One system's numbers, from one run or averaged over several seeds.

    Attributes:
        paths: the run files.
        counts: of the run; of several, the most missing and the fewest retrieved topics, and the sums of documents.
        values: measure → query id → value (of seeds: their mean), for every judged topic.
        means: measure → mean over all judged topics.
        intervals: measure → 95 % interval of that mean (percentile bootstrap over topics).
        recall_curve: pairs (k, mean recall at k), for k up to the depth of the run.
        seeds: the single runs, where there are several.
        spread: measure → spread of the seeds' means, where there are several.
    """

    name: str
    paths: list[str]
    counts: RunCounts
    values: dict[str, dict[str, float]]
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    recall_curve: list[tuple[int, float]] = field(default_factory=list)
    seeds: list[SeedResult] = field(default_factory=list)
    spread: dict[str, Spread] = field(default_factory=dict)


@dataclass
class Comparison:
    """A run against a baseline on one measure; differences are run minus baseline.

    Attributes:
        interval: 95 % bootstrap interval of the mean difference.
        p: two-sided p of the paired test.
        p_corrected: `p` adjusted over the family, all comparisons of this measure.
        effect_size: Cohen's d_z.
        equivalence: the test of equivalence, if a margin was given.
        equivalence_p: its p.
        equivalence_p_corrected: that p adjusted over the same family.
    """

    run: str
    baseline: str
    measure: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_corrected: float
    effect_size: float
    wins: int
    ties: int
    losses: int
    equivalence: Equivalence | None = None
    equivalence_p: float | None = None
    equivalence_p_corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the corrected p lies below 0.05."""
        return self.p_corrected < SIGNIFICANT

    @property
    def equivalent(self) -> bool:
        """Whether the corrected p of the test of equivalence lies below 0.05."""
        return self.equivalence_p_corrected is not None and self.equivalence_p_corrected < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """The test of equivalence in words; empty if there was none."""
        if self.equivalence is None:
            return ""
        return f"equivalent within ±{self.equivalence.margin:g}" if self.equivalent else "not shown"


@dataclass
class Evaluation:
    """Everything `evaluate` found; tables and reports are made from it."""

    qrels: str
    measures: list[str]
    runs: list[RunResult]
    baselines: list[str]
    comparisons: list[Comparison]
    test: Test
    correction: Correction
    seed: int
    relevance_level: int
    equivalence_margin: float | None = None
    preset: str | None = None

    def run(self, name: str) -> RunResult:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)

    def comparison(self, run: str, baseline: str, measure: str) -> Comparison | None:
        """The comparison, or None where there is none (a run with itself)."""
        wanted = (run, baseline, measure)
        return next((c for c in self.comparisons if (c.run, c.baseline, c.measure) == wanted), None)

    def best(self, measure: str) -> str:
        """The highest mean as it is printed; several runs may have it, a single one is not called best."""
        return f"{max(run.means[measure] for run in self.runs):.4f}" if len(self.runs) > 1 else ""

    @property
    def recall_level(self) -> int:
        """Lowest relevant grade of the recall curves: that of the first recall among the measures, if it names one."""
        levels = [measure.level for measure in map(parse, self.measures) if measure.base == "recall"]
        return (levels and levels[0]) or self.relevance_level

    @property
    def family(self) -> list[tuple[str, str]]:
        """Run and baseline of the comparisons that are corrected together, the same ones for every measure."""
        return [(c.run, c.baseline) for c in self.comparisons if c.measure == self.measures[0]]

    def trec_eval(self) -> list[str]:
        """Commands that print the same means with trec_eval's binary, where it has the measure; `RUN` is a run file."""
        commands = trec_eval_commands(self.qrels, "RUN", self.measures, relevance_level=self.relevance_level)
        return [str(command) for command in commands]

    def notes(self) -> list[str]:
        """How the numbers came about, one statement each."""
        judged = self.runs[0].counts.judged
        notes = [f"Means over all {judged} judged topics (trec_eval -c); [95 % interval: percentile bootstrap]."]
        if self.preset is not None:
            preset = PRESETS[self.preset]
            text = f"Preset {self.preset}: {preset.task}"
            if preset.topics not in (None, judged):
                text += f"; it has {preset.topics:,} judged topics, these qrels {judged:,}: not the official ones"
            notes.insert(0, f"{text}.")
        if self.relevance_level != 1:
            notes.append(
                f"Documents are relevant from grade {self.relevance_level} (trec_eval -l), if no rel= is given."
            )
        if self.comparisons:
            notes += self.statistics()
        for run in self.runs:
            notes += _remarks(run)
        return notes

    def statistics(self) -> list[str]:
        """What was compared and tested."""
        test = "t-test" if self.test == "t-test" else "randomisation test (10,000 rounds)"
        names = {"holm": "Holm's correction", "bonferroni": "Bonferroni's correction", "none": "no correction"}
        size = len(self.family)
        over = f" over the {size} comparison{'s' * (size > 1)} of each metric" * (self.correction != "none")
        notes = [f"p: two-sided paired {test}, {names[self.correction]}{over}; d: Cohen's d_z."]
        pairs = "; ".join(f"{run} against {baseline}" for run, baseline in self.family)
        notes.append(f"Comparisons of each metric{' (the family)' * (self.correction != 'none')}: {pairs}.")
        if self.equivalence_margin is not None:
            notes.append(
                f"Equivalence within ±{self.equivalence_margin:g}: two one-sided paired t-tests (TOST), p the larger "
                f"of both, {names[self.correction]}{over}, shown where p < {SIGNIFICANT}; the 90 % interval is "
                "uncorrected."
            )
        return notes

    def to_dict(self, *, per_query: bool = False) -> dict[str, Any]:
        """JSON-ready; without the per-topic values unless asked for."""
        value = asdict(self) | {"family": self.family, "trec_eval": self.trec_eval(), "notes": self.notes()}
        for found, comparison in zip(value["comparisons"], self.comparisons, strict=True):
            found["verdict"] = comparison.verdict
        if not per_query:
            for run in value["runs"]:
                for holder in [run, *run["seeds"]]:
                    del holder["values"]
        return value


def _remarks(run: RunResult) -> list[str]:
    """What lowers a run's numbers, and what they are averaged from."""
    notes = []
    if run.seeds:
        notes.append(f"{run.name}: mean of {len(run.seeds)} seeds, topic by topic; tests are on these means.")
    files = run.seeds or [run]
    for one in files:
        name = f"{run.name} ({one.path})" if isinstance(one, SeedResult) else run.name
        if one.counts.missing:
            notes.append(f"{name} has no results for {one.counts.missing} judged topics; they count 0.")
        if one.counts.unjudged_topics:
            notes.append(f"{name} answers {one.counts.unjudged_topics} topics without judgements; not counted.")
    return notes
