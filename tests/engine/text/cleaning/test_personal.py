"""Personal data: found in every form, look-alikes left alone, nothing shown, linear time."""

import random
import time

import pytest

from engine.contract.errors import SettingError
from engine.text.cleaning.draft import Draft
from engine.text.cleaning.fold import fold
from engine.text.cleaning.personal import KINDS, PLACEHOLDERS, PersonalData, find, luhn, mask
from tests.engine.text.cleaning.planted_personal import measure, personal, written


def cleaned(text: str, region: str = "", kinds: tuple[str, ...] = KINDS) -> str:
    draft = Draft(text)
    PersonalData(kinds, region)(draft)
    return draft.text


def test_planted_personal_data_is_found_and_look_alikes_stay() -> None:
    figures, mistakes = measure(personal(seed=2026, each=150), lambda text: [tuple(f) for f in find(text)])
    assert set(figures) == set(KINDS)
    for kind, figure in figures.items():
        assert figure.right >= 145, kind
        assert figure.precision >= 0.98 and figure.recall >= 0.98, (kind, figure, mistakes[:10])


def test_forms_written_by_hand_are_found_too() -> None:
    figures, mistakes = measure(written(), lambda text: [tuple(f) for f in find(text)])
    right, wrong, missed = (sum(getattr(f, name) for f in figures.values()) for name in ("right", "wrong", "missed"))
    assert right >= 60 and wrong <= 1 and missed <= 3, mistakes


def test_each_kind_becomes_its_placeholder_and_is_counted() -> None:
    text = ("Mail ana@example.com or bob@example.org, call +49 30 901820, pay to DE89 3704 0044 0532 0130 00 or 4111 1111 1111 1111, "
            "from 192.168.0.7, with token ghp_0123456789abcdefABCDEF0123456789abcd.")
    draft = Draft(text)
    PersonalData()(draft)
    assert draft.text == "Mail <EMAIL> or <EMAIL>, call <PHONE>, pay to <IBAN> or <CARD>, from <IP>, with token <KEY>."
    assert {(t.step, t.rule, t.count, t.after) for t in draft.touches} == {
        ("personal_data", kind, 2 if kind == "email" else 1, PLACEHOLDERS[kind]) for kind in KINDS}


def test_examples_never_hold_the_value() -> None:
    for row in personal(seed=7, each=60):
        draft = Draft(row.text)
        PersonalData()(draft)
        shown = " ".join(f"{t.before} {t.after} {t.rule}" for t in draft.touches)
        for kind, value in row.values:
            digits = "".join(c for c in value if c.isalnum())
            assert value not in shown and digits[:6] not in shown.replace(" ", ""), (kind, value, shown)
    assert mask("jane.doe@example.com", "email") == "j***@e***.com"
    assert mask("4111 1111 1111 1111", "card") == "4*** **** **** ****"
    assert mask("hunter2", "key") == "***"


def test_a_text_without_any_is_not_touched() -> None:
    draft = Draft(text := "In 1812 the army crossed the river; 28,980 men, 3.5 % of them ill.\nChapter 1.2.3\n" * 50)
    PersonalData(KINDS, "US")(draft)
    assert draft.text is text and not draft.touches


def test_cleaning_twice_changes_nothing_more() -> None:
    for row in personal(seed=3, each=40):
        once = cleaned(row.text)
        assert cleaned(once) == once


def test_only_the_chosen_kinds_are_replaced() -> None:
    assert cleaned("a@example.com, 10.0.0.1", kinds=("ip",)) == "a@example.com, <IP>"


@pytest.mark.parametrize("number,right", [("4111111111111111", True), ("4111111111111112", False), ("378282246310005", True),
                                          ("79927398713", True),
                                          ("79927398710", False)])
def test_luhn(number: str, right: bool) -> None:
    assert luhn(number) is right


@pytest.mark.parametrize("text", [
    "card 4111 1111 1111 1112", "4111111111111112", "1234 5678 9012 3452", "0.4111111111111111", "4111111111111111.5", "x4111111111111111",
    "4111-1111 1111-1111", "IBAN DE88 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 0"])
def test_what_does_not_check_stays(text: str) -> None:
    assert cleaned(text) == text


@pytest.mark.parametrize("text,expected", [
    ("4111111111111111", "<CARD>"), ("5105-1051-0510-5100", "<CARD>"), ("3782 822463 10005 12/29", "<CARD> 12/29"), ("6011000990139424",
        "<CARD>"),
    ("4111 1111 1111 1111 123", "<CARD> 123"), ("GB82WEST12345698765432", "<IBAN>"), ("iban fr14 2004 1010 0505 0001 3m02 606",
        "iban <IBAN>")])
def test_cards_and_accounts_in_their_forms(text: str, expected: str) -> None:
    assert cleaned(text) == expected


def test_national_phone_numbers_need_a_country_or_a_word() -> None:
    assert cleaned("Room 212-555-0123 is booked") == "Room 212-555-0123 is booked"
    assert cleaned("Ask at 212-555-0123 for me", "US") == "Ask at <PHONE> for me"
    assert cleaned("Order 212-555-0123 was sent", "US") == "Order 212-555-0123 was sent"
    assert cleaned("tel. 212-555-0123") == "tel. <PHONE>"
    assert cleaned("phone number for Ana Lopez: 212-555-0123") == "phone number for Ana Lopez: <PHONE>"
    assert cleaned("That would be (212) 555-0123. (212) 555-01234, f(212) 5") == "That would be <PHONE>. (212) 555-01234, f(212) 5"
    assert cleaned("28980 - 18480 = 10500 and 2024-01-15 10:30", "US") == "28980 - 18480 = 10500 and 2024-01-15 10:30"
    assert cleaned("Büro 030 901820", "de") == "Büro <PHONE>"


def test_connection_strings_keep_all_but_the_password() -> None:
    assert cleaned("postgres://app:s3cr3tPw9@db.example.com:5432/x") == "postgres://app:<KEY>@db.example.com:5432/x"


def test_a_private_key_goes_as_a_block_even_when_it_is_cut_off() -> None:
    block = "-----BEGIN RSA PRIVATE KEY-----\n" + "QUJD" * 16 + "\n" + "QUJE" * 16
    assert cleaned(f"before\n{block}\n-----END RSA PRIVATE KEY-----\nafter") == "before\n<KEY>\nafter"
    assert cleaned(f"before\n{block}").startswith("before\n<KEY>") and "QUJD" not in cleaned(block)


@pytest.mark.parametrize("region", ["XX", "Germany", "1"])
def test_an_unknown_country_is_refused(region: str) -> None:
    with pytest.raises(SettingError) as error:
        PersonalData(KINDS, region)
    assert error.value.field == "phone_region"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingError):
        PersonalData(("passport",))


def test_positions_hold_beside_letters_that_grow_when_lowered() -> None:
    assert len("İ".lower()) == 2 and fold("İstanbul SOFIA") == "İstanbul sofia"
    assert cleaned("İİİİ password = 'Xk29vbQz81' İ") == "İİİİ password = '<KEY>' İ"


HOSTILE = {
    "digits": "1234567890", "ones": "1", "spaced digits": "1 ", "at": "@", "a@": "a@", "labels": "aaaa.", "dotted": "a@" + "a.",
    "colons": ":", "plus": "+1", "plus grouped": "+49 30 ",
    "assignments": "password=", "secret": "secret : ", "blocks": "-----BEGIN PRIVATE KEY-----\n", "jwt": "eyJ" + "a" * 60 + ".",
    "urls": "://a:", "marked": "tel 1234567 ",
    "account": "DE89", "card": "4111 ", "spelled": " at x", "zeros": "0049 ", "octets": "1.", "brackets": "(", "hex": "a:",
    "bearer": "bearer a1a1a1a1a1a1a1a1 "}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_the_text_and_not_with_its_square(name: str) -> None:
    """Eight times the text takes about eight times as long; a square would be sixty-four. Others use the machine, which can make any one
    measure longer but none shorter: the best of several tries counts, and a square fails all of them. Short times are noise and pass."""
    def seconds(length: int) -> float:
        text = (HOSTILE[name] * (length // len(HOSTILE[name]) + 1))[:length]
        start = time.process_time()
        find(text, KINDS, "US")
        return time.process_time() - start

    small = large = float("inf")
    for _ in range(6):
        small, large = min(small, seconds(30_000)), min(large, seconds(240_000))
        if large < 0.3 or large < 24 * small:
            return
    raise AssertionError((small, large))


def test_any_text_is_taken_without_an_error() -> None:
    r = random.Random(5)
    alphabet = "@.:+-/()[]<>=\"' \n0123456789abcdefABCDEFxyz٠١٢３٤é中文İß_#%$&,;|\\\u202f"
    for _ in range(400):
        text = "".join(r.choice(alphabet) for _ in range(r.randint(0, 300)))
        places = find(text, KINDS, r.choice(("", "US", "DE")))
        assert all(0 <= f.start < f.end <= len(text) for f in places)
        assert all(a.end <= b.start for a, b in zip(places, places[1:], strict=False))
