"""The simulated shop's true probabilities match simulated continuations and the conversions in the events."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from demo.simulation.behaviour import CHANGED, FORM_SENT, PURCHASE, USUAL, Behaviour, new_profile, without_signal
from demo.simulation.hours import HourGrid
from demo.simulation.population import Population, State
from demo.simulation.simulation import Simulation
from demo.simulation.truth import chances

USUALLY, AFTERWARDS = Behaviour.of(USUAL), Behaviour.of(CHANGED)


def simulated_share(states: State, grid: HourGrid, governs: list[Behaviour], copies: int) -> np.ndarray:
    """Return the share of each state's copies that reach each goal within 168 hours of day 1: shape (goal, state)."""
    many = State(*(np.repeat(a, copies) for a in (states.source, states.profile, states.absence)))
    population = Population(many, np.zeros(0, dtype=np.int64), grid)
    begin = int(grid.day_starts[1])
    reached = np.zeros((2, len(many.source)), dtype=bool)
    for day in range(1, 9):
        visits = population.step(day, governs[day], np.random.default_rng(day))
        within = visits.cell < begin + 168
        for goal, outcomes in enumerate(((FORM_SENT, PURCHASE), (PURCHASE,))):
            reached[goal, visits.visitor[within & np.isin(visits.outcome, outcomes)]] = True
    return reached.reshape(2, -1, copies).mean(axis=2)


def reachable_states(rng: np.random.Generator, count: int) -> State:
    """Return `count` distinct states that occur after 25 simulated days; rare states are as likely as common ones."""
    grid = HourGrid.over(date(2026, 4, 1), 25, ZoneInfo("UTC"))
    device = rng.integers(0, 3, 3000)
    new = State(np.zeros_like(device), new_profile(device), np.zeros_like(device))
    population = Population(new, np.sort(rng.integers(0, 25 * 24, 3000)), grid)
    for day in range(25):
        population.step(day, USUALLY, rng)
    state = population.state
    chosen = rng.choice(np.unique(state.number, return_index=True)[1], count, replace=False)
    return State(state.source[chosen], state.profile[chosen], state.absence[chosen])


@pytest.mark.parametrize(
    ("first_day", "governs"),
    [
        (date(2026, 6, 3), [USUALLY] * 10),
        (date(2026, 10, 21), [USUALLY] * 10),  # Berlin's clocks go back one hour on 25 October
        (date(2026, 6, 3), [USUALLY] * 4 + [AFTERWARDS] * 6),
    ],
    ids=["an ordinary week", "a week of 169 hours", "a change within the week"],
)
def test_the_true_probability_equals_the_share_of_simulated_continuations(
    first_day: date, governs: list[Behaviour]
) -> None:
    copies = 2_500
    states = reachable_states(np.random.default_rng(11), 80)
    grid = HourGrid.over(first_day, 10, ZoneInfo("Europe/Berlin"))
    table = chances(grid, int(grid.day_starts[1]), governs)
    at_midnight = State(states.source.copy(), states.profile.copy(), states.absence.copy())
    at_midnight.pass_midnight()
    exact = table.reshape(2, -1)[:, at_midnight.number]
    seen = simulated_share(states, grid, governs, copies)
    error = (seen - exact) / np.sqrt(exact * (1 - exact) / copies)
    assert np.abs(error).max() < 4.0
    assert (error**2).mean() == pytest.approx(1.0, abs=0.4)  # the mean of 160 squared standard normal values
    assert exact[0].min() < 0.01
    assert exact[0].max() > 0.15
    assert np.all(exact[1] < exact[0])


def events_of(simulation: Simulation) -> pd.DataFrame:
    """Return the simulated events as the models see them: with the corrected time of staging and without crawlers."""
    columns = ["user_id", "event_type", "created_at", "sent_at", "received_at", "user_agent"]
    frame = pd.DataFrame(([event[name] for name in columns] for event in simulation.events()), columns=columns)
    for name in ("created_at", "sent_at", "received_at"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    skew = frame["received_at"] - frame["sent_at"]
    skew = skew.where(skew.abs() > timedelta(seconds=60), timedelta())
    frame["occurred_at"] = np.minimum(frame["created_at"] + skew, frame["received_at"])
    return frame[~frame["user_agent"].str.contains("compatible; ")]


@pytest.fixture(scope="module")
def shop() -> tuple[Simulation, pd.DataFrame, pd.DataFrame]:
    end = datetime(2026, 11, 1, 11, tzinfo=UTC)  # Berlin's clocks went back one week earlier
    simulation = Simulation(6_000, 50, 5, timezone="Europe/Berlin", domain="shop.example", end=end)
    cutoffs = [
        moment for moment in simulation.midnights() if moment.astimezone(ZoneInfo("Europe/Berlin")).weekday() == 0
    ]
    return (
        simulation,
        events_of(simulation),
        simulation.truth([m for m in cutoffs if m + timedelta(days=9) <= end][-4:]),
    )


def outcomes(truth: pd.DataFrame, events: pd.DataFrame, types: set[str]) -> pd.Series:
    """Return for each row of `truth` whether its visitor converted within 7 days."""
    found = (
        truth[["user_id", "as_of"]]
        .reset_index()
        .merge(events.loc[events["event_type"].isin(types), ["user_id", "occurred_at"]], on="user_id")
    )
    after = found["occurred_at"] - found["as_of"]
    within = found.loc[(after > timedelta()) & (after <= timedelta(days=7)), "index"]
    return pd.Series(truth.index.isin(within), index=truth.index)


def test_truth_has_one_row_for_each_visitor_with_features(
    shop: tuple[Simulation, pd.DataFrame, pd.DataFrame],
) -> None:
    _, events, truth = shop
    for as_of, rows in truth.groupby("as_of"):
        known = events[(events["received_at"] < as_of) & (events["occurred_at"] >= as_of - timedelta(days=28))]
        assert set(rows["user_id"]) == set(known["user_id"])
        assert rows["user_id"].is_unique


@pytest.mark.parametrize(
    ("column", "types"),
    [("p_conversion_7d", {"form_submit", "signup", "purchase"}), ("p_purchase_7d", {"purchase"})],
)
def test_conversions_match_the_true_probability_in_each_decile(
    shop: tuple[Simulation, pd.DataFrame, pd.DataFrame], column: str, types: set[str]
) -> None:
    _, events, truth = shop
    converted = outcomes(truth, events, types)
    tenth = pd.qcut(truth[column], 10, labels=False)
    for _, rows in truth.groupby(tenth):
        chance = rows[column]
        assert abs(converted[rows.index].sum() - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())


def test_conversion_rate_and_ranking_quality_are_realistic(shop: tuple[Simulation, pd.DataFrame, pd.DataFrame]) -> None:
    _, events, truth = shop
    converted = outcomes(truth, events, {"form_submit", "signup", "purchase"})
    assert 0.03 < converted.mean() < 0.08
    ranks = truth["p_conversion_7d"].rank()
    positives = converted.sum()
    auc = (ranks[converted].sum() - positives * (positives + 1) / 2) / (positives * (~converted).sum())
    assert 0.75 < auc < 0.85


def test_without_signal_every_visitor_has_the_same_probability() -> None:
    end = datetime(2026, 7, 1, tzinfo=UTC)
    simulation = Simulation(2_500, 36, 5, timezone="UTC", domain="shop.example", end=end, signal=False)
    truth = simulation.truth([end - timedelta(days=7), end - timedelta(days=14)])
    assert truth["p_conversion_7d"].std() < 1e-12
    chance = truth["p_conversion_7d"]
    assert 0.03 < chance.mean() < 0.08
    converted = outcomes(truth, events_of(simulation), {"form_submit", "signup", "purchase"})
    assert abs(converted.sum() - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())
    assert np.ptp(Behaviour.of(without_signal(CHANGED)).visit_rate) == 0


def test_a_change_of_behaviour_shows_in_conversions_and_in_the_truth() -> None:
    end = datetime(2026, 7, 1, tzinfo=UTC)
    change = end - timedelta(days=21)
    simulation = Simulation(5_000, 45, 5, timezone="UTC", domain="shop.example", end=end, change_at=change)
    before, after = change - timedelta(days=7), change + timedelta(days=14)
    truth = simulation.truth([before, after])
    converted = outcomes(truth, events_of(simulation), {"form_submit", "signup", "purchase"})
    of_before = truth["as_of"] == before
    assert converted[~of_before].mean() < 0.7 * converted[of_before].mean()
    for rows in (truth[of_before], truth[~of_before]):
        chance = rows["p_conversion_7d"]
        assert abs(converted[rows.index].sum() - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())


def test_a_cutoff_that_is_not_a_midnight_of_the_site_is_rejected() -> None:
    end = datetime(2026, 7, 1, 12, tzinfo=UTC)
    simulation = Simulation(50, 20, 5, timezone="Europe/Berlin", domain="shop.example", end=end)
    for moment in (datetime(2026, 6, 20, tzinfo=UTC), datetime(2026, 6, 20, 22, 30, tzinfo=UTC)):
        with pytest.raises(ValueError, match="not a midnight of the site"):
            simulation.truth([moment])
    with pytest.raises(ValueError, match="outside the simulated period"):
        simulation.truth([datetime(2026, 7, 1, 22, tzinfo=UTC)])
    with pytest.raises(ValueError, match="timezone"):
        simulation.truth([datetime(2026, 6, 20)])  # noqa: DTZ001
    assert simulation.truth([]).columns.tolist() == ["user_id", "as_of", "p_conversion_7d", "p_purchase_7d"]
