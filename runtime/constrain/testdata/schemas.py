"""Writes schemas.json: schemas that Pydantic makes of models, as they are and in the form that
OpenAI's client sends as strict ones.

    pip install pydantic==2.14.4 openai==3.57.0
    python schemas.py >schemas.json
"""

import datetime
import enum
import ipaddress
import json
import sys
import typing
import uuid

import pydantic
from openai.lib._pydantic import to_strict_json_schema


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


class Address(pydantic.BaseModel):
    """Where somebody lives."""

    street: str
    zip: str = pydantic.Field(pattern=r"^\d{5}$")
    country: typing.Optional[str] = None


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(min_length=1, max_length=40, description="full name")
    age: int = pydantic.Field(ge=0, le=130)
    height: typing.Optional[float] = pydantic.Field(default=None, gt=0, lt=3)
    mood: Mood
    kind: typing.Literal["person"]
    address: Address
    friends: list["Person"] = pydantic.Field(max_length=3)
    tags: set[Mood]
    position: tuple[float, float]
    scores: dict[str, int]


class Cat(pydantic.BaseModel):
    kind: typing.Literal["cat"]
    lives: int = pydantic.Field(multiple_of=3, gt=0, lt=10)


class Dog(pydantic.BaseModel):
    kind: typing.Literal["dog", "wolf"]
    barks: bool


class Owner(pydantic.BaseModel):
    pet: typing.Union[Cat, Dog] = pydantic.Field(discriminator="kind")
    pets: list[typing.Annotated[typing.Union[Cat, Dog], pydantic.Field(discriminator="kind")]]


class Event(pydantic.BaseModel):
    id: uuid.UUID
    day: datetime.date
    at: datetime.datetime
    clock: datetime.time
    lasts: datetime.timedelta
    site: pydantic.HttpUrl
    address: ipaddress.IPv4Address
    other: ipaddress.IPv6Address
    share: float = pydantic.Field(ge=0, le=1)
    count: typing.Literal[1, 2, 3]
    value: typing.Union[int, str, None]


class Node(pydantic.BaseModel):
    value: int
    left: typing.Optional["Node"]
    right: typing.Optional["Node"]


schemas = {}
for model in (Address, Person, Owner, Event, Node):
    schemas[model.__name__] = model.model_json_schema()
    try:
        schemas[model.__name__ + ", strict"] = to_strict_json_schema(model)
    except Exception as e:  # the client itself refuses it
        print(model.__name__, e, file=sys.stderr)
json.dump(schemas, sys.stdout, indent=1)
