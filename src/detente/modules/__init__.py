"""Use of the user's `nn.Module`s in games: flat parameter vectors, functional calls and checks."""

from detente.deprecated import lookup
from detente.modules.calling import call as call
from detente.modules.calling import modules_of as modules_of
from detente.modules.calling import trainable as trainable
from detente.modules.calling import write as write
from detente.modules.layout import Layout as Layout

__getattr__ = lookup(__name__)
