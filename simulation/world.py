"""The world of the history: who the users are, what the restaurants cook, and how both stand on any day.

A state is a closed formula of (seed, day), never a sum of earlier days: that is what lets any day be made alone.
Add an attribute here when the sources have it; what happens on a day belongs to `producers.history`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
from faker import Faker

from simulation.history.randomness import Bools, Ints, Stream, generator

# The domains whose sources the simulated town is.
SOURCES = ("events", "orders", "restaurants", "users")
OPENING_DAY = date(2024, 1, 1)
TIERS = ("bronze", "silver", "gold", "platinum")
CUISINES = (
    "italian",
    "japanese",
    "indian",
    "mexican",
    "thai",
    "burgers",
    "lebanese",
    "vegan",
    "chinese",
    "greek",
)
CATEGORIES = ("starters", "mains", "sides", "desserts", "drinks")
DISHES = ("bowl", "curry", "wrap", "salad", "soup", "noodles", "pizza", "burger", "platter", "stew")
IDS_PER_DAY = 1_000_000
MENU_IDS_PER_RESTAURANT = 100

_TIER_CYCLE = np.array([0, 1, 0, 1, 2, 1, 2, 3])
_PRICE_CYCLE = np.array([100, 105, 103, 110, 108])


@dataclass(frozen=True)
class WorldSize:
    """How large the world is.

    Attributes:
        users: People registered before the history.
        restaurants: Restaurants, at least one a city.
        menu_items: Dishes of each restaurant, at most 99.
    """

    users: int = 5_000
    restaurants: int = 200
    menu_items: int = 20
    cities: int = 12

    def __post_init__(self) -> None:
        if not (self.users >= 1 and self.restaurants >= self.cities >= 1):
            raise ValueError("a world needs a user, a city, and a restaurant for each city")
        if not 1 <= self.menu_items < MENU_IDS_PER_RESTAURANT:
            raise ValueError(f"a menu has 1 to {MENU_IDS_PER_RESTAURANT - 1} dishes")


@dataclass(frozen=True)
class UsersState:
    """The users registered before the history, as a day leaves them; index i is user i + 1."""

    city: Ints
    tier: Ints
    is_active: Bools
    changed_on: Ints
    changed_at_us: Ints


@dataclass(frozen=True)
class MenuState:
    """Price in cents and availability, restaurants x dishes, as a day leaves them."""

    price_cents: Ints
    is_available: Bools


def day_ids(day: date, count: int) -> Ints:
    """Identifiers of what is born on a day: readable (YYMMDD and a number) and equal however the day is made."""
    return int(day.strftime("%y%m%d")) * IDS_PER_DAY + np.arange(1, count + 1, dtype=np.int64)


class World:
    """Pools and constants drawn once from the seed, and the formulas of every state.

    Args:
        seed: Everything follows from it.
        size: How large the world is.
    """

    def __init__(self, seed: int, size: WorldSize | None = None) -> None:
        self.seed = seed
        self.size = size = size or WorldSize()
        rng = generator(seed, OPENING_DAY, Stream.WORLD)
        fake = Faker("en_US")
        fake.seed_instance(seed)
        self.first_names = [fake.first_name() for _ in range(300)]
        self.last_names = [fake.last_name() for _ in range(300)]
        self.cities = _distinct(fake.city, size.cities)
        self.search_terms = [*CUISINES, *DISHES, *_distinct(fake.word, 60)]
        self.restaurant_names = [f"{fake.last_name()}'s {CUISINES[i % len(CUISINES)]}" for i in range(size.restaurants)]

        self._names = rng.integers(0, 300, (2, size.users))
        self._home = rng.integers(0, size.cities, size.users)
        self._step = rng.integers(1, max(2, size.cities), size.users)
        self._move_period = rng.integers(250, 700, size.users)
        self._tier_period = rng.integers(60, 150, size.users)
        self._active_period = rng.integers(40, 120, size.users)
        self._phase = rng.integers(0, 10_000, (3, size.users))
        self._joined_us = rng.integers(0, 2 * 365 * 86_400_000_000, size.users)
        self._order_rank = rng.permutation(size.users)
        self.devices: Ints = rng.choice(3, size.users, p=[0.45, 0.40, 0.15])

        count = size.restaurants
        self.restaurant_city: Ints = np.arange(count) % size.cities
        self.cuisine: Ints = rng.integers(0, len(CUISINES), count)
        # The first restaurant of each city never closes, so that every order finds a kitchen.
        always = np.arange(count) < size.cities
        self.opens_minute: Ints = np.where(always, 0, rng.integers(6 * 60, 11 * 60, count))
        self.closes_minute: Ints = np.where(always, 0, rng.integers(21 * 60, 25 * 60, count) % 1440)
        self.always_open: Bools = always
        self._rating = rng.integers(320, 480, count)
        self._rating_phase = rng.integers(0, 1_000, count)
        self._popularity = 1 / np.arange(1, count + 1) ** 0.7
        self._base_cents = (rng.gamma(4, 300, (count, size.menu_items)) + 200).astype(np.int64)
        self._price_period = rng.integers(25, 60, (count, size.menu_items))
        self._price_phase = rng.integers(0, 1_000, (count, size.menu_items))

    def user_name(self, index: int) -> tuple[str, str]:
        """Display name and e-mail address of a user registered before the history."""
        first, last = self._names[:, index]
        return self.person(int(first), int(last), index + 1)

    def person(self, first: int, last: int, user_id: int) -> tuple[str, str]:
        """Display name and e-mail address of anybody, by pool indices."""
        name = f"{self.first_names[first % 300]} {self.last_names[last % 300]}"
        return name, f"{name.replace(' ', '.').lower()}.{user_id}@example.com"

    def joined_at(self, index: int) -> datetime:
        """When a user registered before the history did so."""
        start = datetime(OPENING_DAY.year - 2, 1, 1, tzinfo=UTC)
        return start + timedelta(microseconds=int(self._joined_us[index]))

    @lru_cache(maxsize=8)  # noqa: B019 - a process has one or two worlds, each alive as long as the process
    def users_state(self, day: date) -> UsersState:
        """The users as `day` leaves them, at its last moment."""
        ordinal = day.toordinal()
        moves, moved_on = _periods(ordinal, self._phase[0], self._move_period)
        tiers, tiered_on = _periods(ordinal, self._phase[1], self._tier_period)
        naps, _ = _periods(ordinal, self._phase[2], self._active_period)
        # A user pauses for one period in twelve: only its two ends are changes.
        rest = (naps + self._phase[1]) % 12
        napped_on = (naps - np.maximum(rest - 1, 0)) * self._active_period - self._phase[2]
        changed_on = np.maximum(np.maximum(moved_on, tiered_on), napped_on)
        users = np.arange(self.size.users)
        return UsersState(
            city=(self._home + self._step * moves) % self.size.cities,
            tier=_TIER_CYCLE[(tiers + self._phase[0]) % len(_TIER_CYCLE)],
            is_active=rest != 0,
            changed_on=changed_on,
            # Until 23:50, so that the increment of 23:55 has the whole day.
            changed_at_us=((users * 7_919 + changed_on * 104_729) % 85_800) * 1_000_000 + users % 1_000_000,
        )

    @lru_cache(maxsize=8)  # noqa: B019 - see users_state
    def menu_state(self, day: date) -> MenuState:
        """The menus as they stand during `day`."""
        period = (day.toordinal() + self._price_phase) // self._price_period
        return MenuState(
            price_cents=self._base_cents * _PRICE_CYCLE[period % len(_PRICE_CYCLE)] // 100,
            is_available=(period + self._price_phase) % 15 != 0,
        )

    def ratings(self, day: date) -> Ints:
        """Average ratings during `day`, in hundredths."""
        return self._rating + 5 * (((day.toordinal() + self._rating_phase) // 9) % 5)

    def is_open(self, minute: int) -> Bools:
        """Which restaurants take orders at a minute of the UTC day; the same every day."""
        opens, closes = self.opens_minute, self.closes_minute
        within = np.where(opens < closes, (opens <= minute) & (minute < closes), (minute >= opens) | (minute < closes))
        return self.always_open | within

    def pick_users(self, rng: np.random.Generator, day: date, count: int) -> Ints:
        """Draw indices of active users, few of whom do much."""
        active = self._order_rank[self.users_state(day).is_active[self._order_rank]]
        return active[(len(active) * rng.random(count) ** 2).astype(np.int64)]

    def pick_restaurants(self, rng: np.random.Generator, city: Ints, time_us: Ints) -> Ints:
        """Draw indices of restaurants of the given cities, open at the given times, popular ones more often."""
        hour = np.clip(time_us // 3_600_000_000, 0, 23)
        rows = self._choices[city * 24 + hour]
        chosen: Ints = city + self.size.cities * (rng.random(len(city))[:, None] >= rows).sum(1)
        return chosen

    @cached_property
    def _choices(self) -> np.ndarray:
        """Cumulative weights by (city, hour); the k-th restaurant of a city has index city + k * cities."""
        slots = -(-self.size.restaurants // self.size.cities)
        table = np.zeros((self.size.cities * 24, slots))
        for hour in range(24):
            # Open at the hour's first and last minute, or an order could meet a closed door.
            open_all_hour = self.is_open(hour * 60) & self.is_open(hour * 60 + 59)
            weight = np.where(open_all_hour, self._popularity, 0.0)
            for city in range(self.size.cities):
                mine = weight[city :: self.size.cities]
                table[city * 24 + hour, : len(mine)] = mine
        cumulative = table.cumsum(1) / table.sum(1, keepdims=True)
        # Slots behind the last open restaurant must never be reached by a rounding error.
        return np.where(cumulative > 1 - 1e-12, 1.1, cumulative)


def _periods(ordinal: int, phase: Ints, period: Ints) -> tuple[Ints, Ints]:
    """Number of the period a day lies in, and the day (ordinal) on which that period began."""
    number = (ordinal + phase) // period
    return number, number * period - phase


def _distinct(draw: object, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(str(draw()))  # type: ignore[operator]
    return list(found)
