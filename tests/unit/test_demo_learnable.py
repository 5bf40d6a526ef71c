"""An off-the-shelf model learns most of the simulated shop's true probabilities from its events."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

from demo.simulation.simulation import Simulation
from warehouse.events.user_agents import parse_user_agent

ZONE = "Europe/Berlin"
CONVERSIONS = {"form_submit", "signup", "purchase"}
ACTIVE = timedelta(days=28)


def event_table(simulation: Simulation) -> pd.DataFrame:
    def rows():
        seen: set[str] = set()
        for event in simulation.events():
            agent = parse_user_agent(event["user_agent"])
            if agent.is_bot or event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            payload = event["payload"]
            yield (
                event["user_id"],
                event["session_id"],
                event["event_type"],
                event["page_title"],
                event["created_at"],
                event["sent_at"],
                event["received_at"],
                agent.device_type,
                payload.get("utm", {}).get("campaign") or event["referrer"] or "direct",
                payload.get("scroll", {}).get("scrollPercent", 0),
            )

    columns = ["user", "session", "type", "page", "created", "sent", "received", "device", "source", "scroll"]
    frame = pd.DataFrame(rows(), columns=columns)
    for name in ("created", "sent", "received"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    skew = frame["received"] - frame["sent"]
    skew = skew.where(skew.abs() > timedelta(seconds=60), timedelta())
    frame["at"] = np.minimum(frame["created"] + skew, frame["received"])
    return frame.sort_values("at", kind="stable")


def features_at(events: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Return features like those of `marts.visitor_features`, from the events received before `as_of`."""
    past = events[events["received"] < as_of]
    recent = past[past["at"] >= as_of - ACTIVE]
    users = pd.Index(recent["user"].unique(), name="user")
    days = (as_of - past["at"]).dt.total_seconds() / 86_400

    def last(types: set[str]) -> pd.Series:
        return days[past["type"].isin(types)].groupby(past["user"]).min().reindex(users)

    def count(types: set[str], within: int) -> pd.Series:
        rows = recent[recent["type"].isin(types) & (recent["at"] >= as_of - timedelta(days=within))]
        return rows.groupby("user").size().reindex(users, fill_value=0)

    sessions = recent.drop_duplicates("session")
    week = sessions[sessions["at"] >= as_of - timedelta(days=7)]
    landing = recent[recent["type"] == "page_view"].drop_duplicates("session").groupby("user")["source"].last()
    return pd.DataFrame(
        {
            "days_since_last_event": days.groupby(past["user"]).min().reindex(users),
            "days_since_first_event": days.groupby(past["user"]).max().reindex(users),
            "days_since_last_add_to_cart": last({"add_to_cart"}),
            "days_since_last_conversion": last(CONVERSIONS),
            "sessions_28d": sessions.groupby("user").size().reindex(users),
            "sessions_7d": week.groupby("user").size().reindex(users, fill_value=0),
            "page_views_28d": count({"page_view"}, 28),
            "distinct_pages_28d": recent.groupby("user")["page"].nunique().reindex(users),
            "max_scroll_percent_28d": recent.groupby("user")["scroll"].max().reindex(users),
            "form_starts_28d": count({"form_start"}, 28),
            "form_submits_28d": count({"form_submit", "signup"}, 28),
            "add_to_carts_28d": count({"add_to_cart"}, 28),
            "purchases_28d": count({"purchase"}, 28),
            "conversions_total": past[past["type"].isin(CONVERSIONS)]
            .groupby("user")
            .size()
            .reindex(users, fill_value=0),
            "device": past.groupby("user")["device"].first().reindex(users).astype("category"),
            "last_source": landing.reindex(users).astype("category"),
        }
    ).reset_index()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_gradient_boosting_reaches_90_percent_of_the_attainable_gain() -> None:
    end = datetime(2026, 11, 20, 12, tzinfo=UTC)
    simulation = Simulation(40_000, 100, 21, timezone=ZONE, domain="shop.example", end=end)
    events = event_table(simulation)
    mondays = [m for m in simulation.midnights() if m.astimezone(ZoneInfo(ZONE)).weekday() == 0]
    mondays = [m for m in mondays if m + timedelta(days=9) <= end][-9:]
    truth = simulation.truth(mondays)
    converting = events.loc[events["type"].isin(CONVERSIONS), ["user", "at"]]
    frames: list[pd.DataFrame] = []
    for as_of in mondays:
        frame = features_at(events, as_of)
        after = converting["at"] - as_of
        soon = converting.loc[(after > timedelta()) & (after <= timedelta(days=7)), "user"]
        frame["converted"] = frame["user"].isin(soon)
        chances = truth[truth["as_of"] == as_of].set_index("user_id")["p_conversion_7d"]
        frame["chance"] = frame["user"].map(chances)
        frame["as_of"] = as_of
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    for name in ("device", "last_source"):
        table[name] = table[name].astype("category")
    assert table["chance"].notna().all()

    later = table["as_of"].isin(mondays[-2:])
    inputs = table.drop(columns=["user", "converted", "chance", "as_of"])
    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=15, l2_regularization=5.0, early_stopping=False, random_state=0
    ).fit(inputs[~later], table.loc[~later, "converted"])
    happened = table.loc[later, "converted"]
    # Random outcomes hide the difference between two good predictions. The expected loss under the true probabilities
    # measures the same difference without that noise.
    best = table.loc[later, "chance"].to_numpy()
    guess = model.predict_proba(inputs[later])[:, 1]
    base = np.full(len(best), table.loc[~later, "converted"].mean())

    def expected_loss(p: np.ndarray) -> float:
        return float(-(best * np.log(p) + (1 - best) * np.log1p(-p)).mean())

    gain = (expected_loss(base) - expected_loss(guess)) / (expected_loss(base) - expected_loss(best))
    print(f"\n{len(table)} examples, {(~later).sum()} to learn from, base rate {happened.mean():.4f}")
    print(f"ROC-AUC {roc_auc_score(happened, guess):.4f} of {roc_auc_score(happened, best):.4f}")
    losses = [log_loss(happened, p) for p in (guess, best, base)]
    print("log-loss {:.5f}, best {:.5f}, base {:.5f}".format(*losses))
    print(f"share of the attainable gain {gain:.3f}")
    assert gain > 0.9
