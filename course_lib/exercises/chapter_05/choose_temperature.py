"""05.3: a sweep is a choice: validation makes it, and the test part is read for the winner alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

Accuracies = dict[str, list[float]]
Sweep = tuple[Accuracies, Accuracies]

ex = Exercise(
    "05.3",
    "Choose T, then report it",
    points=2,
    trials=8,
    hints=[
        "Two parts, two roles: validation chooses, test tells what the chosen one is worth.",
        "Each setting was trained with several seeds: compare means, so that one lucky run does not win.",
        "Keep the name whose mean on validation is the largest so far; the number is np.mean(test[name]).",
    ],
    explanation="""
        A sweep over $T$ is a choice like any other: validation makes it, and the test part is read once, for the
        winner. The settings are compared by their means over seeds, because that is what the reported number is; a
        noisy setting may win. The recorded sweeps of this chapter are validation scores, so no test score was looked
        at to choose among them.
    """,
)


@ex.reference
def choose_and_report(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    """(setting, accuracy): the best mean over seeds on validation, and this setting's mean over seeds on test."""
    best, best_mean = "", -1.0
    for setting, accuracies in validation.items():
        if np.mean(accuracies) > best_mean:
            best, best_mean = setting, np.mean(accuracies)
    return best, float(np.mean(test[best]))


@ex.case("two settings that change places between validation and test")
def steady_winner() -> Sweep:
    validation = {"T = 1": [0.81, 0.84, 0.82], "T = 4": [0.86, 0.88, 0.92]}
    return validation, {"T = 1": [0.91, 0.92, 0.94], "T = 4": [0.85, 0.88, 0.84]}


@ex.case("a noisy setting with the best mean, another with the best single run, and a test dict in its own order")
def noisy_winner() -> Sweep:
    validation = {"T = 1": [0.88, 0.87, 0.89], "T = 2": [0.86, 0.99, 0.85], "T = 4": [0.83, 0.74, 0.999]}
    return validation, {"T = 4": [0.71, 0.74, 0.72], "T = 2": [0.89, 0.92, 0.94], "T = 1": [0.93, 0.96, 0.99]}


@ex.case("settings of which first seed, worst seed, median and mean minus deviation each prefer another one")
def five_opinions() -> Sweep:
    validation = {
        "T = 1": [0.76, 0.91, 0.91],
        "T = 2": [0.89, 0.93, 0.8],
        "T = 4": [0.82, 0.83, 0.82],
        "T = 8": [0.9, 0.88, 0.81],
        "T = 16": [0.96, 0.86, 0.76],
    }
    test = {
        "T = 16": [0.79, 0.83, 0.85],
        "T = 1": [0.88, 0.87, 0.9],
        "T = 8": [0.84, 0.89, 0.88],
        "T = 4": [0.81, 0.8, 0.78],
        "T = 2": [0.86, 0.82, 0.87],
    }
    return validation, test


@ex.case("two settings that are 0.3 points apart")
def close_settings() -> Sweep:
    validation = {"T = 2": [0.91, 0.911, 0.912], "T = 8": [0.913, 0.914, 0.915]}
    return validation, {"T = 8": [0.9, 0.907, 0.904], "T = 2": [0.921, 0.93, 0.928]}


@ex.case("a sweep with one seed")
def one_seed() -> Sweep:
    return {"T = 1": [0.7], "T = 4": [0.8], "T = 8": [0.75]}, {"T = 4": [0.77], "T = 1": [0.72], "T = 8": [0.81]}


@ex.inputs
def random_sweep(rng: np.random.Generator) -> Sweep:
    """A sweep in which every other way to choose takes another setting than the mean does."""
    settings, seeds = int(rng.integers(3, 5)), int(rng.integers(3, 6))
    spread = rng.permutation([0.01, *[0.06] * (settings - 1)])[:, None]  # a steady setting, and noisy ones

    def scores(middle: float) -> np.ndarray:
        return (middle + spread * rng.normal(size=(settings, seeds))).round(3)

    validation = scores(0.8)
    while not _only_the_mean_chooses(validation):
        validation = scores(0.8)
    test = scores(0.78)
    while not _only_the_mean_reports(test, validation):
        test = scores(0.78)
    names = [f"T = {t}" for t in (1, 2, 4, 8)[:settings]]
    order = np.roll(np.arange(settings), int(rng.integers(1, settings)))
    return (
        {name: row.tolist() for name, row in zip(names, validation, strict=True)},
        {names[i]: test[i].tolist() for i in order},
    )


def _others(scores: np.ndarray) -> list[np.ndarray]:
    """What may be taken for the mean over seeds: (settings, seeds) -> (settings,) each."""
    return [scores[:, 0], scores[:, -1], scores.max(1), scores.min(1), np.median(scores, 1)]


def _only_the_mean_chooses(validation: np.ndarray) -> bool:
    means, spread = validation.mean(1), validation.std(1)
    best, (second, first) = means.argmax(), np.sort(means)[-2:]
    rules = [*_others(validation), means - spread, means + spread]
    return first - second > 0.004 and all(rule.max() - rule[best] > 0.001 for rule in rules)


def _only_the_mean_reports(test: np.ndarray, validation: np.ndarray) -> bool:
    best, means = validation.mean(1).argmax(), test.mean(1)
    lucky = test[best, validation[best].argmax()]
    numbers = [report[best] for report in [*_others(test), validation.mean(1)]]
    numbers += [lucky, test.mean(), *np.delete(means, best)]
    return means.argmax() != best and all(abs(number - means[best]) > 0.002 for number in numbers)


def _best(scores: dict[str, Any]) -> str:
    """The setting with the largest score."""
    return max(scores, key=scores.__getitem__)


def _means(accuracies: Accuracies) -> dict[str, Any]:
    return {setting: np.mean(of_seeds) for setting, of_seeds in accuracies.items()}


@ex.mistake(
    "You chose on test. The best of several test scores is partly luck: what you report is then too good (chapter 02). "
    "Choose on validation."
)
def chosen_on_test(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(test))
    return best, float(np.mean(test[best]))


@ex.mistake("You chose the setting that holds the best single run. One seed can be lucky: compare means over seeds.")
def luckiest_run(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: max(a) for setting, a in validation.items()})
    return best, float(np.mean(test[best]))


@ex.mistake("You compared the worst seeds. One seed can be unlucky, too: compare means over seeds.")
def unluckiest_run(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: min(a) for setting, a in validation.items()})
    return best, float(np.mean(test[best]))


@ex.mistake(
    "The first seed alone decides in your answer (max over lists compares their first entries). Compare means over "
    "seeds."
)
def first_seed(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(validation)
    return best, float(np.mean(test[best]))


@ex.mistake("The last seed alone decides in your answer. Compare means over seeds.")
def last_seed(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: a[-1] for setting, a in validation.items()})
    return best, float(np.mean(test[best]))


@ex.mistake("You compared medians. Reported is a mean over seeds, so choose by the mean, also of a noisy setting.")
def median(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: np.median(a) for setting, a in validation.items()})
    return best, float(np.mean(test[best]))


@ex.mistake(
    "You subtracted the standard deviation, which prefers steady settings. That is a decision of its own; here the "
    "best mean wins, also where the seeds scatter."
)
def mean_minus_deviation(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: np.mean(a) - np.std(a) for setting, a in validation.items()})
    return best, float(np.mean(test[best]))


@ex.mistake("You took the smallest accuracy: these are accuracies, not losses.")
def smallest(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = min(validation, key=_means(validation).__getitem__)
    return best, float(np.mean(test[best]))


@ex.mistake("You rounded the means before you compared them: two settings became equal, and the first of them won.")
def rounded_first(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best({setting: round(float(mean), 2) for setting, mean in _means(validation).items()})
    return best, float(np.mean(test[best]))


@ex.mistake(
    "Right setting, but its test score is looked up by position, and the two dicts need not have one order: take "
    "test[setting]."
)
def by_position(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, float(np.mean(list(test.values())[list(validation).index(best)]))


@ex.mistake(
    "You report the validation score that you chose by: the maximum of several, so too good. Report the test score of "
    "the chosen setting."
)
def validation_reported(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, float(np.mean(validation[best]))


@ex.mistake("Right setting, best seed: report the mean over seeds, or say that you kept the luckiest network.")
def best_seed_reported(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, max(test[best])


@ex.mistake("Right setting, but you report the median over seeds: report the mean.")
def median_reported(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, float(np.median(test[best]))


@ex.mistake(
    "Right setting, but you rounded its score to three digits: return the number, and round where it is printed."
)
def rounded_report(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best, accuracy = choose_and_report(validation, test)
    return best, round(accuracy, 3)


@ex.mistake(
    "You report the test score of the seed that was best on validation. Seeds are no setting to choose: report the "
    "mean over them."
)
def chosen_seed_reported(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, test[best][int(np.argmax(validation[best]))]


@ex.mistake("Right setting, but the best test score of all stands beside it: report the score of the chosen setting.")
def best_test_score_reported(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, float(max(np.mean(accuracies) for accuracies in test.values()))


@ex.mistake("Right setting, but you averaged over all settings: report the mean of the chosen one's seeds.")
def mean_over_settings(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best = _best(_means(validation))
    return best, float(np.mean(list(test.values())))


@ex.mistake("Right choice and right number, in the wrong order: (setting, accuracy).")
def turned_round(validation: Accuracies, test: Accuracies) -> tuple[float, str]:
    return choose_and_report(validation, test)[::-1]


@ex.mistake("You report percent. The accuracies are fractions: report one, too.")
def in_percent(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    best, accuracy = choose_and_report(validation, test)
    return best, 100 * accuracy


@ex.alternative
def sorted_by_sum(validation: Accuracies, test: Accuracies) -> tuple[str, float]:
    ranking = sorted((sum(accuracies), setting) for setting, accuracies in validation.items())
    best = ranking[-1][1]
    return best, sum(test[best]) / len(test[best])


@ex.alternative
def with_arrays(validation: Accuracies, test: Accuracies) -> tuple[str, np.floating]:
    table = np.array(list(validation.values()))  # (settings, seeds)
    best = list(validation)[table.mean(axis=1).argmax()]
    return best, np.array(test[best]).mean()


@ex.alternative
def one_line(validation: Accuracies, test: Accuracies) -> list:
    best = max(validation, key=_means(validation).get)  # type: ignore[arg-type] as learners write it
    return [best, torch.tensor(test[best]).mean()]
