from __future__ import annotations
from .channel import Channel
from .errors import BusError
class Bridge(Channel):
    def __init__(self, info, name, note):
        raise BusError("not yet")
