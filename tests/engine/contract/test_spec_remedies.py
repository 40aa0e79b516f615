"""A setting that is refused comes with a remedy that would have worked."""

from typing import ClassVar, Literal

import pytest

from engine.contract.errors import SettingError
from engine.contract.spec import Spec, option


class Kettle(Spec):
    stage: ClassVar[str] = "kettle"

    cups: int | None = option(None, label="Cups", help="How many.", ge=1, le=8)
    sugar: int = option(0, label="Sugar", help="Lumps.", ge=0)
    heat: float = option(1.0, label="Heat", help="How hot.", gt=0, le=10)
    steam: float = option(0.5, label="Steam", help="Share.", ge=0, lt=1)
    base: float = option(1.0, label="Base", help="Anything above nothing.", gt=0)
    whistle: bool = option(True, label="Whistle", help="Aloud.")
    tea: Literal["green", "black"] = option("green", label="Tea", help="Which.", choices=(("green", "Green"), ("black", "Black")))


@pytest.mark.parametrize(("pair", "remedy"), [
    ("cups=9", "Choose a whole number from 1 to 8."),
    ("cups=1.5", "Choose a whole number from 1 to 8."),
    ("sugar=-1", "Choose a whole number, 0 or more."),
    ("heat=0", "Choose a value above 0, up to 10."),
    ("heat=NaN", "Choose a value above 0, up to 10."),
    ("steam=1", "Choose a value from 0 to under 1."),
    ("base=0", "Choose a value above 0."),
    ("base=Infinity", "Choose a value above 0."),
    ("whistle=maybe", "Choose true or false."),
    ("tea=mint", "Choose one of: green, black."),
])
def test_the_remedy_names_what_the_setting_takes(pair: str, remedy: str) -> None:
    with pytest.raises(SettingError) as caught:
        Kettle.check(Kettle.parse_settings([pair]))
    assert caught.value.remedy == remedy
