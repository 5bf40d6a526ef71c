"""Numbers as people, Tilda and payment systems write them, with their values. Python and JavaScript read them alike."""

from __future__ import annotations

NUMBERS: dict[str, float] = {
    # Tilda's own structures: a decimal point, sometimes with many decimals
    "1990": 1990,
    "1990.5": 1990.5,
    "3981.00": 3981,
    "4200.0000": 4200,
    "4.500": 4.5,
    "0.125": 0.125,
    "0990": 990,  # Tilda.sendEcommerceEvent adds text prices to the number 0
    # prices on pages and in calls, by locale
    "1,990": 1990,
    "12,345,678": 12_345_678,
    "1,990.50": 1990.5,
    "1 990,50": 1990.5,
    "1\u00a0990,50 ₽": 1990.5,
    "1\u202f990,50 €": 1990.5,
    "1.990,00": 1990,
    "1.990.000": 1_990_000,
    "1.234.567,89": 1_234_567.89,
    "1'990.50": 1990.5,
    "0,5": 0.5,
    "0,125": 0.125,
    "1990,5": 1990.5,
    "$1,990.": 1990,
    "1 990 р.": 1990,  # noqa: RUF001 - Russian
    "руб. 350": 350,  # noqa: RUF001
    "-100": -100,
    "-1 990,50": -1990.5,
}
"""Text and value."""

NOT_NUMBERS = ("", "free", "NaN", "Infinity", "—")
