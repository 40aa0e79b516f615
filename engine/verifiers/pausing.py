"""When a run must stop and ask, because its verifier does not work: decided batch by batch, from verdicts alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.contract.words import tr, trn
from engine.verifiers.api import ZERO, Kind, Verdict

PAUSE_SHARE = 0.05
"""Of a batch: with more rollouts than this without a score, the run pauses."""
WARN_SHARE = 0.01
"""Of all calls so far: with more timeouts of the verifier than this, the run warns."""


@dataclass(frozen=True)
class Judgement:
    """pause: whether to stop and ask. sentence: what to say (also without a pause, where something went wrong). line: of the verifier's
    source, where most of it happened. counts: by kind of error."""

    pause: bool
    sentence: str
    line: int | None
    counts: Mapping[Kind, int]


def judge(verdicts: Sequence[Verdict], *, timeouts_before: int = 0, calls_before: int = 0) -> Judgement:
    """What a batch says about its verifier. Pauses where more than PAUSE_SHARE of it has no score, the first batch where none has one;
    warns where the verifier's timeouts are more than WARN_SHARE of all calls. The `_before`s count the batches before this."""
    counts: Counter[Kind] = Counter(one.error for one in verdicts if one.error)
    unknown = [one for one in verdicts if one.score is None]
    if unknown:
        [(kind, line), _] = Counter((one.error, one.line) for one in unknown).most_common(1)[0]
        first = next(one for one in unknown if (one.error, one.line) == (kind, line))
        pause = len(unknown) > PAUSE_SHARE * len(verdicts) or (calls_before == 0 and len(unknown) == len(verdicts))
        share = f"{100 * len(unknown) / len(verdicts):.0f}"
        said = trn("The verifier could not judge {count} of {total} completion ({share} %)",
                   "The verifier could not judge {count} of {total} completions ({share} %)", len(unknown), total=len(verdicts),
                   share=share)
        where = tr("line {line}: {message}", line=line, message=first.message) if line else first.message
        return Judgement(pause, f"{said}: {where}" if where else f"{said}.", line, counts)
    timeouts, calls = timeouts_before + counts["timeout"], calls_before + len(verdicts)
    if counts["timeout"] and timeouts > WARN_SHARE * calls:
        share = f"{100 * timeouts / calls:.1f}"
        return Judgement(False, tr("The verifier ran out of time in {share} % of its calls; they count as 0.", share=share), None, counts)
    return Judgement(False, "", None, counts)


def unscored(counts: Mapping[Kind, int]) -> int:
    """How many of the counted errors left a rollout without a score."""
    return sum(number for kind, number in counts.items() if kind not in ZERO)
