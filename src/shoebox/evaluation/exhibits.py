"""The figures of a report, each with a caption that says how to read it.

In: an Evaluation, the history of a training, the layers of a network, scores of foreign pictures. Out: by a short
name, a matplotlib `Figure` and its caption; nothing where there is nothing to draw.
"""

from typing import TYPE_CHECKING

from shoebox.evaluation import figures
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.novelty import Apart
from shoebox.models.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Captioned = dict[str, "tuple[Figure, str]"]


def trust_figures(evaluation: Evaluation) -> Captioned:
    """What confidence is worth."""
    if not evaluation.labelled.any():
        return {}
    return {
        "reliability": (
            figures.reliability_diagram(evaluation),
            "Where a bar ends above the dashed line, the classifier is right more often than it says; below, less.",
        ),
        "coverage": (
            figures.coverage_risk(evaluation),
            "How many mistakes remain if only the surest answers are used and a person does the others.",
        ),
    }


def strangers_figures(apart: Apart | None) -> Captioned:
    """How foreign pictures differ from known ones."""
    if apart is None:
        return {}
    caption = "How often each score is given. What lies right of the threshold is called foreign."
    return {"strangers": (figures.strangeness(apart), caption)}


def training_figures(history: "pd.DataFrame | None") -> Captioned:
    """What happened over the epochs."""
    if history is None or history.empty:
        return {}
    return {
        "curves": (figures.curves(history), "Loss and accuracy after each epoch, on training and validation."),
        "metrics": (figures.six_metrics(history), "All six metrics after each epoch."),
        "rate": (figures.learning_rate(history), "The learning rate."),
    }


def ranking_figures(evaluation: Evaluation) -> Captioned:
    """How well each class is ranked above the rest."""
    if not evaluation.labelled.any():
        return {}
    return {
        "roc": (figures.roc_curves(evaluation), "Each class against the rest, at every threshold."),
        "recall": (
            figures.precision_recall(evaluation),
            "How many of the found are right, as more of a class is found.",
        ),
    }


def network_figures(layers: Summary) -> Captioned:
    """What the network is made of."""
    caption = "What each layer puts out, how many numbers it learnt, and its work for one picture."
    return {"network": (figures.network_table(layers), caption)}
