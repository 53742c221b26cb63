"""A net's text as Caffe makes it for one state: the layers kept, what each gets from which, what is a loss."""
from __future__ import division, print_function

from caffe_prototxt.net import states
from caffe_prototxt.textformat.messages import Name

INPUT = -1  # the maker of a blob that the net's own `input` fields make
UNKNOWN = None

# Layers that hand on their first bottom's values, in another shape or none.
HAND_ON = frozenset(("Split", "Reshape", "Flatten", "Dropout", "LabelCheck"))
FARTHEST = 100  # of these one after the other that are looked through


class Graph(object):
    """What a net is in a state.

    net: nets.Net. state: states.State.
    layers: the nets.Layers that Caffe keeps, in their order; places in this list stand for
        them from here on.
    types: of each, its type.
    makers: of each and for each bottom, the place of the layer that writes it last before,
        INPUT or UNKNOWN. users: of each, (place, number of the bottom) of who gets its tops.
    again: (place, top) of the tops that another layer makes already.
    weights: of each, the loss weight of each top, as Caffe fills them in.
    """

    def __init__(self, net, state):
        self.net = net
        self.state = state
        self.layers = [layer for layer in net.layers if is_kept(layer, state)]
        self.types = [layer.type for layer in self.layers]
        self.makers, self.users, self.again = [], [[] for _ in self.layers], []
        self._connect()
        self._weights = None

    @property
    def weights(self):
        if self._weights is None:
            self._weights = [loss_weights(layer, kind) for layer, kind in zip(self.layers, self.types)]
        return self._weights

    def _connect(self):
        last = {name: INPUT for name in self.net.inputs}
        for place, layer in enumerate(self.layers):
            makers = [last.get(bottom, UNKNOWN) for bottom in layer.bottoms]
            self.makers.append(makers)
            for number, maker in enumerate(makers):
                if maker not in (UNKNOWN, INPUT):
                    self.users[maker].append((place, number))
            for number, top in enumerate(layer.tops):
                in_place = layer.bottoms[number:number + 1] == [top]
                if top in last and not in_place:
                    self.again.append((place, top))
                last[top] = place

    def under_loss(self):
        """The places of the layers that a loss depends on, and of the losses."""
        return self.before(place for place, weights in enumerate(self.weights) if any(weights))

    def before(self, places):
        """The places given, and those of all layers that they depend on."""
        found = set(places)
        for place in reversed(range(len(self.layers))):
            if place in found:
                found.update(maker for maker in self.makers[place] if maker not in (UNKNOWN, INPUT))
        return found

    def after(self, places):
        """The places given, and those of all layers that depend on them."""
        found = set(places)
        for place, makers in enumerate(self.makers):
            if found.intersection(makers):
                found.add(place)
        return found

    def origin(self, place, bottom):
        """(place, top's number) of the layer that makes a bottom, seen through those that hand it on; None if unknown."""
        for _ in range(FARTHEST):
            blob, maker = self.layers[place].bottoms[bottom], self.makers[place][bottom]
            if maker in (UNKNOWN, INPUT):
                return None
            number = self.layers[maker].tops.index(blob)
            name = python_class(self.layers[maker])[1] if self.types[maker] == "Python" else self.types[maker]
            if name not in HAND_ON or not self.layers[maker].bottoms:
                return maker, number
            place, bottom = maker, 0
        return None


def is_kept(layer, state):
    """Whether Caffe keeps a nets.Layer in a state."""
    if not layer.rules:
        return True
    include, exclude = ([states.rule_of_text(rule) for rule in layer.rules.get(name, ()) if isinstance(rule, dict)]
                        for name in ("include", "exclude"))
    return states.keeps(state, include, exclude)


def is_loss(kind):
    """Whether layers of a type are losses with weight 1 if they do not say; so are all of Caffe's own whose name ends so."""
    return kind.endswith("Loss")


def loss_weights(layer, kind):
    """The loss weight of each top; of as many as it names, if Caffe would stop at their number."""
    given = [weight if is_number(weight) else 0 for weight in layer.values("loss_weight")]
    n_tops = max(len(layer.tops), is_loss(kind))
    if not given and is_loss(kind):
        given = [1]
    return (given + [0] * n_tops)[:n_tops]


def is_python_loss(layer):
    """Whether the class of a Python layer sounds like a loss."""
    return layer.type == "Python" and "loss" in python_class(layer)[1].lower()


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def python_class(layer):
    """(module, class) of a Python layer, as its python_param names them."""
    param = layer.message("python_param")
    return ("", "") if param is None else tuple(
        value if isinstance(value, str) and not isinstance(value, Name) else ""
        for value in (param.value("module"), param.value("layer")))
