"""The arithmetic of fair share: the worked examples of the guide and of the model's text, with the numbers written out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.kernel.ordering.fair_share import FairShare, Policy, Run, policy_from, reserved_part
from batchyard.shapes import batch as shapes

NOON = 1_700_000_000_000
SECOND = 1000
MINUTE = 60 * SECOND
WINDOW = 10 * MINUTE
VCPU = 1000


def policy(*, decay: int = 0, reservation: int = 0, **weights: float) -> Policy:
    """`UserA_` stands for the entry `UserA*`."""
    return policy_from(
        shapes.FairsharePolicy(
            share_decay_seconds=decay,
            compute_reservation=reservation,
            share_distribution=[
                shapes.ShareAttributes(share_identifier=share.replace("_", "*"), weight_factor=weight)
                for share, weight in weights.items()
            ],
        )
    )


def shares_of(rules: Policy, *shares: str) -> FairShare:
    fair_share = FairShare(policy=rules)
    for share in shares:
        fair_share.joined(share)
    return fair_share


def first(fair_share: FairShare, now: int) -> str:
    """The share with the smallest claim; among equals the one that came first."""
    return min(fair_share.accounts, key=lambda share: fair_share.claim(share, now))


# The window


@pytest.mark.parametrize(
    ("decay", "window"), [(0, 600), (1, 600), (599, 600), (600, 600), (601, 601), (604_800, 604_800)]
)
def test_the_window_is_at_least_ten_minutes(decay: int, window: int) -> None:
    assert policy(decay=decay).window == window * SECOND


def test_a_policy_without_members_has_the_defaults() -> None:
    assert policy_from(None) == policy_from(shapes.FairsharePolicy()) == Policy()


# Weights


@pytest.mark.parametrize(
    ("weights", "active", "expected"),
    [
        ({}, ["A", "B"], {"A": 1.0, "B": 1.0}),
        ({"A": 0.125}, ["A", "B"], {"A": 0.125, "B": 1.0}),
        ({"A": 0.0001, "B": 999.9999}, ["A", "B"], {"A": 0.0001, "B": 999.9999}),
        ({"UserA_": 1.0}, ["UserA1", "UserA2", "UserA3", "UserB"], {"UserA1": 3.0, "UserA3": 3.0, "UserB": 1.0}),
        ({"UserA_": 0.5}, ["UserA1", "UserA2"], {"UserA1": 1.0, "UserA2": 1.0}),
        ({"UserA_": 0.5}, ["UserA"], {"UserA": 0.5}),
        ({"UserA_": 0.5}, ["UserB"], {"UserA7": 0.5, "UserB": 1.0}),
        ({"UserA_": 0.5}, ["UserA1"], {"UserA7": 1.0}),
        ({"UserA": 0.5}, ["UserA1"], {"UserA1": 1.0}),
        ({"UserA_": 2.0, "UserB_": 3.0}, ["UserA1", "UserB1", "UserB2"], {"UserA1": 2.0, "UserB1": 6.0}),
    ],
)
def test_weights(weights: dict[str, float], active: Sequence[str], expected: dict[str, float]) -> None:
    """An entry counts for its identifier; one with an asterisk counts for all it covers together; 1.0 for all others."""
    fair_share = shares_of(policy(**weights), *active)
    assert {share: fair_share.weight(share) / 1_000_000 for share in expected} == expected


@pytest.mark.parametrize(
    ("weights", "active", "entitled"),
    [
        ({}, ["A", "B"], {"A": 1 / 2, "B": 1 / 2}),
        ({"A": 0.125}, ["A", "B"], {"A": 8 / 9, "B": 1 / 9}),
        ({"A": 0.5, "B": 0.25}, ["A", "B", "C"], {"A": 2 / 7, "B": 4 / 7, "C": 1 / 7}),
        ({"UserA_": 1.0}, ["UserA1", "UserA2", "UserB"], {"UserA1": 1 / 4, "UserA2": 1 / 4, "UserB": 1 / 2}),
    ],
)
def test_entitlements(weights: dict[str, float], active: Sequence[str], entitled: dict[str, float]) -> None:
    """A weight of 0.125 gets eight times the compute of a weight of 1; a prefix is one portion."""
    assert shares_of(policy(**weights), *active).entitlements() == pytest.approx(entitled)


# Which shares are active


def test_a_share_is_active_until_the_window_has_passed_since_its_last_job() -> None:
    fair_share = shares_of(policy(), "A", "A", "B")
    fair_share.left("A", NOON)
    fair_share.move(NOON + 10 * WINDOW)
    assert list(fair_share.accounts) == ["A", "B"]
    fair_share.left("A", NOON + MINUTE)
    fair_share.move(NOON + MINUTE + WINDOW - 1)
    assert list(fair_share.accounts) == ["A", "B"]
    fair_share.move(NOON + MINUTE + WINDOW)
    assert list(fair_share.accounts) == ["B"]


def test_a_share_that_comes_back_stays() -> None:
    fair_share = shares_of(policy(), "A")
    fair_share.left("A", NOON)
    fair_share.joined("A")
    fair_share.move(NOON + WINDOW)
    assert list(fair_share.accounts) == ["A"]
    fair_share.left("A", NOON + WINDOW + 5)
    fair_share.move(NOON + 2 * WINDOW + 4)
    assert list(fair_share.accounts) == ["A"]
    fair_share.move(NOON + 2 * WINDOW + 5)
    assert list(fair_share.accounts) == []


def test_a_share_that_comes_and_goes_is_remembered_once() -> None:
    fair_share = shares_of(policy())
    for number in range(1000):
        fair_share.joined("A")
        fair_share.left("A", NOON + number)
    assert len(fair_share.leaving) == 1
    fair_share.move(NOON + WINDOW + 998)
    assert list(fair_share.accounts) == ["A"]
    fair_share.move(NOON + WINDOW + 999)
    assert not fair_share.accounts
    assert not fair_share.leaving


def test_a_prefix_is_shared_among_the_members_that_are_still_active() -> None:
    fair_share = shares_of(policy(UserA_=1.0), "UserA1", "UserA2")
    fair_share.left("UserA2", NOON)
    assert fair_share.weight("UserA1") == 2_000_000
    fair_share.move(NOON + WINDOW)
    assert fair_share.weight("UserA1") == 1_000_000


# The reservation


@pytest.mark.parametrize(
    ("reservation", "active", "percent"),
    [
        (50, 1, "50"),
        (50, 2, "25"),
        (50, 3, "12.5"),
        (25, 1, "25"),
        (25, 2, "6.25"),
        (25, 3, "1.5625"),
        (75, 0, "100"),
        (75, 1, "75"),
        (75, 2, "56.25"),
        (75, 3, "42.1875"),
        (0, 0, "100"),
        (0, 1, "0"),
        (99, 1, "99"),
    ],
)
def test_what_is_reserved(reservation: int, active: int, percent: str) -> None:
    assert 100 * reserved_part(reservation, active) == Fraction(percent)


@pytest.mark.parametrize(
    ("reservation", "active", "vcpus", "reserved"),
    [
        (0, 1, 256, 0),
        (50, 1, 256, 128),
        (50, 2, 256, 64),
        (50, 3, 256, 32),
        (25, 3, 256, 4),
        (25, 4, 256, 1),
        (25, 5, 256, 0),
        (75, 3, 256, 108),
        (75, 1, 1, 0),
        (99, 1, 4, 3),
        (50, 1, 0, 0),
    ],
)
def test_whole_vcpus_are_reserved(reservation: int, active: int, vcpus: int, reserved: int) -> None:
    shares = [f"share{number}" for number in range(active)]
    assert shares_of(policy(reservation=reservation), *shares).reserved(vcpus * VCPU) == reserved * VCPU


def test_identifiers_that_appear_one_after_another() -> None:
    """The worked example with R = 75 and 256 vCPUs: A may use 64; A and B 112; A, B and C 148; the rest stays unused for good
    when nobody else comes. A second job of A changes nothing. Who gets what is not reserved is for the claims to say."""
    fair_share = shares_of(policy(reservation=75), "A")

    def fill(share: str) -> int:
        while not fair_share.held_back(share, VCPU, 256 * VCPU):
            fair_share.placed(share, VCPU)
        return fair_share.in_flight // VCPU

    assert fill("A") == 64
    fair_share.joined("A")
    assert fill("A") == 64
    fair_share.joined("B")
    assert (fill("B"), fill("A")) == (112, 112)
    fair_share.joined("C")
    assert (fill("C"), fill("B"), fill("A")) == (148, 148, 148)


def test_the_first_job_of_a_share_may_use_what_is_reserved() -> None:
    fair_share = shares_of(policy(reservation=75), "A", "B")
    assert not fair_share.held_back("A", 200 * VCPU, 256 * VCPU)
    fair_share.placed("A", 200 * VCPU)
    assert fair_share.held_back("A", VCPU, 256 * VCPU)
    assert not fair_share.held_back("B", 56 * VCPU, 256 * VCPU)
    fair_share.placed("B", 56 * VCPU)
    assert fair_share.held_back("B", VCPU, 256 * VCPU)


def test_without_a_reservation_nothing_is_held_back() -> None:
    fair_share = shares_of(policy(), "A")
    fair_share.placed("A", 256 * VCPU)
    assert not fair_share.held_back("A", VCPU, 256 * VCPU)


# Who is next


def test_two_shares_with_jobs_of_32_and_64_vcpus_get_two_jobs_for_one() -> None:
    """The worked example: A_vcpu / A_weight = B_vcpu / B_weight, though all is decided in one moment."""
    fair_share, order = shares_of(policy(), "A", "B"), ""
    for _ in range(9):
        share = first(fair_share, NOON)
        fair_share.placed(share, {"A": 32, "B": 64}[share] * VCPU)
        order += share
    assert order == "ABA" * 3


def test_a_burst_in_one_moment_is_dealt_out_by_weight() -> None:
    fair_share = shares_of(policy(A=0.125), "A", "B")
    order = ""
    for _ in range(18):
        share = first(fair_share, NOON)
        fair_share.placed(share, VCPU)
        order += share
    assert order == "AB" + "A" * 8 + "B" + "A" * 7
    assert {share: account.in_flight for share, account in fair_share.accounts.items()} == {
        "A": 16 * VCPU,
        "B": 2 * VCPU,
    }


def test_who_has_used_less_is_next_until_the_decay_has_forgotten_it() -> None:
    """The worked example with a decay of 300 s is one of 600 s here, the least there is: after that B's old usage no longer
    counts, and B is as good as A."""
    fair_share = shares_of(policy(decay=300), "B", "A")
    fair_share.placed("B", 64 * VCPU)
    fair_share.ran("B", NOON, 64 * VCPU)
    fair_share.ended("B", NOON + MINUTE, 64 * VCPU, ran=True)
    assert first(fair_share, NOON + MINUTE) == "A"
    assert first(fair_share, NOON + MINUTE + WINDOW - 1) == "A"
    assert fair_share.claim("B", NOON + MINUTE + WINDOW) == fair_share.claim("A", NOON + MINUTE + WINDOW) == 0


def test_a_job_counts_a_tenth_of_the_window_more_than_it_has_used_while_it_is_in_flight() -> None:
    fair_share = shares_of(policy(), "A")
    weight, unit = 1_000_000, 2 * WINDOW

    def vcpu_seconds(now: int) -> float:
        return fair_share.claim("A", now) / weight / unit / 1_000_000

    fair_share.placed("A", 2 * VCPU)
    assert vcpu_seconds(NOON) == 2 * 60
    fair_share.ran("A", NOON + SECOND, 2 * VCPU)
    assert vcpu_seconds(NOON + 61 * SECOND) == pytest.approx(2 * 60 + 2 * 60 * 0.95)
    fair_share.ended("A", NOON + 61 * SECOND, 2 * VCPU, ran=True)
    assert vcpu_seconds(NOON + 61 * SECOND) == pytest.approx(2 * 60 * 0.95)


def test_what_was_given_back_leaves_no_trace() -> None:
    fair_share = shares_of(policy(), "A")
    fair_share.placed("A", 2 * VCPU)
    fair_share.ended("A", NOON, 2 * VCPU, ran=False)
    assert fair_share == shares_of(policy(), "A")


# The policy changes


def test_new_weights_count_at_once() -> None:
    fair_share = shares_of(policy(), "A", "B")
    for share in "AB":
        fair_share.placed(share, VCPU)
    fair_share.follow(policy(A=2.0), NOON)
    assert first(fair_share, NOON) == "B"
    fair_share.follow(policy(A_=0.5), NOON)
    assert first(fair_share, NOON) == "A"


def test_a_longer_window_keeps_what_is_known() -> None:
    fair_share = shares_of(policy(), "A", "B")
    fair_share.placed("A", VCPU)
    fair_share.ran("A", NOON, VCPU)
    fair_share.ended("A", NOON + MINUTE, VCPU, ran=True)
    fair_share.left("A", NOON + MINUTE)
    fair_share.follow(policy(decay=3600), NOON + MINUTE)
    assert fair_share.accounts["A"].usage.vcpu_seconds(NOON + MINUTE) == pytest.approx(60 * (1 - 0.5 / 60))
    assert first(fair_share, NOON + 50 * MINUTE) == "B"
    fair_share.move(NOON + 61 * MINUTE)
    assert list(fair_share.accounts) == ["B"]


def test_a_shorter_window_forgets_at_once() -> None:
    fair_share = shares_of(policy(decay=3600), "A", "B")
    fair_share.placed("A", VCPU)
    fair_share.ran("A", NOON, VCPU)
    fair_share.ended("A", NOON + MINUTE, VCPU, ran=True)
    fair_share.left("A", NOON + MINUTE)
    fair_share.follow(policy(), NOON + 20 * MINUTE)
    assert list(fair_share.accounts) == ["B"]


# A restart


def test_what_is_learnt_says_until_when_shares_were_active() -> None:
    fair_share = shares_of(policy())
    now = NOON + WINDOW
    ends = {"A": [50, 100, 70], "B": [0, -1], "C": [1]}
    runs = [Run(share, None, NOON + at, 0) for share, some in ends.items() for at in some]
    fair_share.learn(runs, now)
    assert list(fair_share.accounts) == ["A", "C"]
    fair_share.move(now + 99)
    assert list(fair_share.accounts) == ["A"]
    fair_share.move(now + 100)
    assert not fair_share.accounts


def test_a_job_whose_attempt_ended_later_than_itself_by_another_clock() -> None:
    fair_share = shares_of(policy(), "A")
    fair_share.placed("A", VCPU)
    fair_share.ran("A", NOON, VCPU)
    fair_share.ended("A", NOON + 100, VCPU, ran=True)
    fair_share.left("A", NOON + 90)
    fair_share.move(NOON + 99 + WINDOW)
    assert list(fair_share.accounts) == ["A"]
    fair_share.move(NOON + 100 + WINDOW)
    assert not fair_share.accounts


LIVES = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "UserC1", "UserC2"]),
        st.integers(0, 2000),
        st.none() | st.integers(0, 300),
        st.integers(0, 900),
        st.integers(1, 16),
    ),
    max_size=15,
)


@given(LIVES, st.integers(0, 4000))
def test_after_a_restart_everything_is_as_it_was(
    lives: list[tuple[str, int, int | None, int, int]], after: int
) -> None:
    """Jobs of single attempts: share, second of the submission, seconds until it runs (None: it was cancelled), seconds for
    which it runs, vCPUs."""
    now = NOON + after * SECOND
    rules = policy(UserC_=0.5)
    live, restarted = FairShare(policy=rules), FairShare(policy=rules)
    happened: list[tuple[int, int, int]] = []
    for number, (_, submitted, until_run, lasts, _) in enumerate(lives):
        begin = submitted + (until_run or 0)
        happened += [(submitted, number, 0), (submitted, number, 1), (begin, number, 2), (begin + lasts, number, 3)]
    runs: list[Run] = []
    for at, number, what in sorted(happened):
        moment = NOON + at * SECOND
        if moment > now:
            continue
        share, submitted, until_run, _, vcpus = lives[number]
        live.move(moment)
        if what == 0:
            live.joined(share)
        elif until_run is None:
            if what == 3:
                live.left(share, moment)
                runs.append(Run(share, None, moment, vcpus * VCPU))
        elif what == 1:
            live.placed(share, vcpus * VCPU)
        elif what == 2:
            live.ran(share, moment, vcpus * VCPU)
        else:
            live.ended(share, moment, vcpus * VCPU, ran=True)
            live.left(share, moment)
            runs.append(Run(share, NOON + (submitted + until_run) * SECOND, moment, vcpus * VCPU))
    restarted.learn(reversed(runs), now)
    for share, submitted, until_run, lasts, vcpus in lives:
        begin = submitted + (until_run or 0)
        if not submitted <= after < begin + lasts:
            continue
        restarted.joined(share)
        if until_run is not None:
            restarted.placed(share, vcpus * VCPU)
            if begin <= after:
                restarted.ran(share, NOON + begin * SECOND, vcpus * VCPU)
    for later in (0, 1, WINDOW // 2, WINDOW, 3 * WINDOW):
        assert observable(restarted, now + later) == observable(live, now + later)


def observable(fair_share: FairShare, now: int) -> dict[str, tuple[int, int, int, int, int]]:
    fair_share.move(now)
    return {
        share: (
            fair_share.claim(share, now),
            fair_share.weight(share),
            account.unfinished,
            account.in_flight,
            account.attempts,
        )
        for share, account in sorted(fair_share.accounts.items())
    }
