"""Scores, bands and reasons, as a marketer sees them."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest

from ml import scoring, serving, shapley, training
from ml.model import Propensity
from ml.phrases import phrases
from tests.feature_tables import table, trained


def today() -> pd.DataFrame:
    frame = table()
    return frame[frame["as_of"] == frame["as_of"].max()].drop_duplicates("user_id").drop(columns=["truth"])


def small_model() -> tuple[Propensity, pd.DataFrame]:
    """Return a model of three columns, few enough to evaluate every coalition, and its table."""
    rng = np.random.default_rng(2)
    n = 4_000
    frame = pd.DataFrame(
        {
            "a": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "b": rng.poisson(2, n),
            "c": rng.choice(["x", "y", "z"], n),
            "t": pd.date_range("2024-01-01", periods=n, freq="h"),
        }
    )
    odds = -1 + frame["a"].fillna(-1) * (frame["c"] == "x") + 0.4 * frame["b"] * (frame["c"] != "z")
    frame["y"] = rng.random(n) < 1 / (1 + np.exp(-odds))
    return training.fit(frame, numeric=["a", "b"], categorical=["c"], label="y", time="t"), frame


def test_contributions_equal_shapley_values_by_definition() -> None:
    """Sum over every coalition of the three columns and every background row, as the definition says."""
    model, frame = small_model()
    assert model.kind in {"blend", "boosting"}
    x = serving.prepare(frame, model.numeric, model.categorical)
    background, people = x.sample(60, random_state=1), x.head(4)
    bundle = model.bundle | {"backgrounds": shapley.backgrounds(model.bundle, background)}
    columns = list(x.columns)

    def worth(person: pd.DataFrame, coalition: tuple[str, ...]) -> float:
        mixed = background.assign(**{name: person[name].iloc[0] for name in coalition})
        return float(serving.margin(bundle, mixed).mean())

    for row in range(len(people)):
        person = people.iloc[[row]]
        found = shapley.contributions(bundle, person)[0]
        for place, name in enumerate(columns):
            others = [other for other in columns if other != name]
            defined = sum(
                factorial(size) * factorial(len(columns) - size - 1) / factorial(len(columns))
                * (worth(person, (*coalition, name)) - worth(person, coalition))
                for size in range(len(columns))
                for coalition in combinations(others, size)
            )  # fmt: skip
            assert found[place] == pytest.approx(defined, abs=1e-9)


def test_contributions_add_up_to_the_score() -> None:
    model = trained()
    x = serving.prepare(table().head(2_000), model.numeric, model.categorical)
    rest = serving.margin(model.bundle, x) - shapley.contributions(model.bundle, x).sum(axis=1)
    assert np.ptp(rest) < 1e-9


def test_every_visitor_gets_one_complete_row() -> None:
    frame = today()
    scored = scoring.score(trained(), frame)
    assert tuple(scored.columns) == scoring.COLUMNS
    assert scored["user_id"].tolist() == frame["user_id"].tolist()
    assert scored["score"].between(0, 1).all()
    assert np.allclose(scored["score"], trained().predict(frame), atol=0)
    assert scored["decile"].value_counts().between(len(frame) // 10 - 3, len(frame) // 10 + 3).all()
    assert (scored["reasons"].map(len) == 3).all()
    assert set(scored["model_version"]) == {trained().version}


def test_scores_do_not_depend_on_row_order() -> None:
    frame = today()
    scored = scoring.score(trained(), frame)
    pd.testing.assert_frame_equal(scored, scoring.score(trained(), frame))
    shuffled = scoring.score(trained(), frame.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(
        scored.sort_values("user_id").reset_index(drop=True), shuffled.sort_values("user_id").reset_index(drop=True)
    )


def test_the_hot_band_holds_half_of_the_expected_conversions() -> None:
    scored = scoring.score(trained(), today()).sort_values("score", ascending=False)
    share = scored["score"].cumsum() / scored["score"].sum()
    hot = scored["band"] == "hot"
    assert share[hot].max() == pytest.approx(0.5, abs=0.01)
    assert scored.loc[hot, "score"].min() > scored.loc[~hot, "score"].max()
    assert share[scored["band"] != "cold"].max() == pytest.approx(0.8, abs=0.01)


def test_equal_scores_share_band_and_decile() -> None:
    assert set(scoring.bands(np.full(50, 0.1))) == {"warm"}
    assert len(set(scoring.deciles(np.full(50, 0.1)))) == 1
    assert scoring.bands(np.array([0.3, 0.3, 0.01, 0.01])).tolist() == ["hot", "hot", "cold", "cold"]
    assert scoring.deciles(np.array([0.1, 0.9, 0.5])).tolist() == [9, 2, 6]


def test_sites_are_ranked_separately() -> None:
    frame = today()
    other = frame.assign(site_id="other")
    both = scoring.score(trained(), pd.concat([frame, other], ignore_index=True))
    alone = scoring.score(trained(), frame)
    assert both.loc[both["site_id"] == "shop", "decile"].tolist() == alone["decile"].tolist()


def test_reasons_name_the_visitors_actions() -> None:
    frame = today()
    base = frame.iloc[[0]].assign(add_to_carts_7d=0, add_to_carts_28d=0, days_since_last_add_to_cart=None)
    keen = base.assign(
        user_id="keen",
        add_to_carts_7d=4,
        add_to_carts_28d=4,
        days_since_last_add_to_cart=0.2,
        days_since_last_event=0.2,
    )
    scored = scoring.score(trained(), pd.concat([base, keen]).astype({"days_since_last_add_to_cart": float}))
    cart = [reason for reason in scored["reasons"].iloc[1] if "cart" in reason]
    assert cart
    assert cart[0].startswith("more likely: ")


def test_no_rows_give_no_scores_and_invalid_tables_are_rejected() -> None:
    frame = today()
    assert scoring.score(trained(), frame.head(0)).empty
    with pytest.raises(ValueError, match="two rows"):
        scoring.score(trained(), pd.concat([frame, frame.head(1)]))
    with pytest.raises(ValueError, match="as_of"):
        scoring.score(trained(), frame.drop(columns="as_of"))
    with pytest.raises(ValueError, match="sessions_7d"):
        scoring.score(trained(), frame.drop(columns="sessions_7d"))


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("days_since_last_add_to_cart", 2.3, "added to cart 2 days ago"),
        ("days_since_last_add_to_cart", 0.13, "added to cart 3 hours ago"),
        ("days_since_last_add_to_cart", float("nan"), "never added to cart"),
        ("sessions_7d", 1.0, "1 session in 7 days"),
        ("sessions_7d", 0.0, "no sessions in 7 days"),
        ("engaged_seconds_28d", 312.0, "5 minutes of attention in 28 days"),
        ("engaged_seconds_28d", 0.0, "0 seconds of attention in 28 days"),
        ("max_scroll_percent_28d", 75.0, "scrolled down to 75 %"),
        ("evening_share_28d", 0.4, "40 % of sessions in the evening"),
        ("sessions_trend", -2.0, "-2 sessions against the week before"),
        ("revenue_total", 12_345.0, "12,000 spent so far"),
        ("shoe_size", 42.0, "shoe size: 42"),
    ],
)
def test_numbers_are_put_into_words(column: str, value: float, expected: str) -> None:
    assert phrases(column, np.array([value]))[0] == expected


def test_text_values_are_put_into_words() -> None:
    values = np.array(["email", serving.ABSENT], dtype=object)
    assert phrases("last_channel", values).tolist() == ["last came through email", "last channel unknown"]
    hostile = phrases("last_utm_campaign", np.array(["{s}<script>{}"], dtype=object))[0]
    assert hostile == "last campaign {s}<script>{}"
