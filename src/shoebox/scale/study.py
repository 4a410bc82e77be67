"""The study behind a sweep: Optuna's, in a database that many processes and machines may share.

In: where it is kept and what it is of. Out: an Optuna study whose trials send a sign of life every few seconds. A trial
is tried again, as a new one "of" the first, when its process has died; the number of the first is its root.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoebox.base.errors import MissingExtra, ShoeboxError, UsageError
from shoebox.base.runtime import derive_seed

if TYPE_CHECKING:
    import optuna

HEARTBEAT, GRACE = 5, 60
"""Seconds between a trial's signs of life, and without one until its process counts as dead."""
RETRIES = 3
"""How often a trial whose process died is tried again: one that kills its process each time is given up."""
OPENING = 20.0
"""Seconds for which opening is tried: a database that another process is just making refuses."""


@contextlib.contextmanager
def opened(
    folder: Path, storage: str | None, what: dict[str, Any], *, direction: Literal["minimize", "maximize"], seed: int
) -> Iterator[optuna.Study]:
    """Make the study of a sweep, or open it where it is; within the block Optuna says nothing of its own.

    Args:
        folder: of the sweep; its name is the study's.
        storage: an SQLAlchemy URL; by default a SQLite file in the folder.
        what: plain values that say what is searched; a study of anything else is refused.
        direction: "maximize" or "minimize".
        seed: of the suggestions. A process that joins draws others.

    Raises:
        MissingExtra: optuna is not installed.
        UsageError: the study is of something else.
        ShoeboxError: the database cannot be opened.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("optuna", "sweep") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        kept = _open_storage(storage or f"sqlite:///{(folder / 'sweep.db').resolve()}")
        try:
            study = _study(kept, folder.name, direction, seed)
            before = study.user_attrs.get("what", what)
            differ = [f"{k}: {_short(before.get(k))} → {_short(v)}" for k, v in what.items() if before.get(k) != v]
            if differ:
                raise UsageError(f"{folder} holds a sweep of something else ({'; '.join(differ)}): choose another")
            study.set_user_attr("what", {**before, **what})
            yield study
        finally:
            kept.remove_session()
            kept.engine.dispose()


def _open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open the database, waiting for another process that is just making it."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    # SQLite lets one process write at a time: wait for the others rather than fail.
    engine = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    end = time.monotonic() + OPENING
    while True:
        try:
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs=engine,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=requeue,
            )
        except (SQLAlchemyError, ImportError) as e:
            if isinstance(e, ImportError) or time.monotonic() > end:
                raise ShoeboxError(f"the study at {url} cannot be opened: {str(e).splitlines()[0]}") from None
            time.sleep(0.5)


def _study(
    kept: optuna.storages.RDBStorage, name: str, direction: Literal["minimize", "maximize"], seed: int
) -> optuna.Study:
    """The study of that name, new or as it is."""
    import optuna

    try:
        joined: tuple[Any, ...] = ()
        study = optuna.create_study(storage=kept, study_name=name, direction=direction)
    except optuna.exceptions.DuplicatedStudyError:
        joined = (os.getpid(), socket.gethostname())  # another process may draw from the plain seed right now
        study = optuna.load_study(storage=kept, study_name=name)
    # With constant_liar, the trials of other processes count as poor until they end: no two look at the same spot.
    study.sampler = optuna.samplers.TPESampler(
        seed=derive_seed(seed, *joined) % 2**32, constant_liar=True, n_startup_trials=8
    )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    return study


def requeue(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Queue a trial again, with the same settings, unless it has died too often."""
    import optuna

    root = root_of(trial)
    if len(tries(study)[root]) > RETRIES:
        return
    again = optuna.create_trial(
        state=optuna.trial.TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={"of": root},
    )
    study.add_trial(again)


def tries(study: optuna.Study) -> dict[int, list[optuna.trial.FrozenTrial]]:
    """By root, every trial that was made of it, the newest last; without those that were one too many."""
    found: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        if not trial.user_attrs.get("surplus"):
            found.setdefault(root_of(trial), []).append(trial)
    return found


def rank(study: optuna.Study, root: int) -> int:
    """How many trials were begun before this one. Two processes may begin the last one at the same moment."""
    return sum(other < root for other in tries(study))


def root_of(trial: optuna.trial.FrozenTrial) -> int:
    """The number of the trial that this one tries again, or its own."""
    return int(trial.user_attrs.get("of", trial.number))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
