"""The heads of a net: the blobs that its losses get, and what makes the outputs of a deployed net of them."""
from __future__ import division, print_function

from collections import OrderedDict, namedtuple

from caffe_losses.compat import to_display
from caffe_prototxt.net import losses
from caffe_prototxt.net.adjustments import scores_alone
from caffe_prototxt.net.graph import Graph, Node, origin
from caffe_prototxt.net.matrix_sources import MODULE

# loss: its Layer, or None. blob: the one that the loss gets. maker: its Node, INPUT, or None if no layer makes it.
# add: the type of the layer that replaces the loss, "Softmax" or "Sigmoid"; None: the blob is an output itself.
# axis: of the layer that is added. top: the loss's second, or None.
Head = namedtuple("Head", "loss blob maker add axis top")
Head.__new__.__defaults__ = (None, 1, None)

# Layers between embeddings and a loss of their distances, as netspec.triplet_layers writes it of Caffe's own.
_ON_DISTANCES = frozenset(("Softmax", "Concat", "Reshape", "Power", "Split", "Reduction"))
_MOST_LAYERS = 100  # on the way from a loss to embeddings


def find_heads(graph, names=(), blobs=()):
    """Return the Heads of a net, different ones.

    blobs: those that are meant. If there are none, the Heads are of the losses in TEST; where there are none, of those
    in TRAIN, or else of the last Softmaxes. names: of the losses that are meant; empty: all.
    Raises ValueError where losses do not tell what the net gives.
    """
    train, different = graph.state._replace(phase="TRAIN"), OrderedDict()
    heads = [_blob_head(graph, blob) for blob in blobs] or _of_losses(graph, graph, names)
    heads = heads or _of_losses(graph, Graph(graph.net, train), names)
    if not heads and not names:
        heads = [_blob_head(graph, node.tops[0]) for node in graph.nodes if node.type == "Softmax" and node.tops
                 and all(user.type in ("Accuracy", "Silence") for user, _ in node.users)]
    if not heads:  # a stage to deploy leaves the losses out
        heads = _of_losses(graph, Graph(graph.net, train._replace(stages=())), names)
    if not heads:
        raise ValueError("expected a loss%s, of which to tell what the net puts out, got none; say which blobs are: "
                         "--blob BLOB" % (" of these names" if names else ""))
    for head in heads:
        head = _made_already(graph, head)
        different.setdefault((head.blob, head.add, head.axis), head)
    return list(different.values())


def _blob_head(graph, blob):
    """Return the Head of a blob that is an output itself."""
    return Head(None, blob, next((node for node in reversed(graph.nodes) if blob in node.tops), None))


def _of_losses(graph, of_losses, names):
    return [_head(graph, node, graph is of_losses) for node in of_losses.whole_nodes
            if _is_loss(node) and (not names or node.layer.name in names)]


def _made_already(graph, head):
    """Return a Head, or the one of a layer that makes of its blob already what is to be added."""
    wanted = head.add, [head.maker], [head.blob], head.axis
    same = next((node for node in graph.nodes if wanted == (
        node.type, node.makers, node.bottoms, node.layer.value_in("softmax_param", "axis", 1))), None)
    return Head(head.loss, same.tops[0], same) if same else head


def _is_loss(node):
    return bool(node.bottoms) and (any(node.loss_weights) or losses.is_loss_type(node.type)
                                   or losses.is_python_loss(node.layer))


def _head(graph, node, is_in_graph):
    layer, blob = node.layer, _embedding(node)
    kind = losses.kind_of(layer)
    if blob is not None or kind is None:
        if blob is None:
            _check_known(layer, is_in_graph)
        add = "Sigmoid" if layer.type == "SigmoidCrossEntropyLoss" else None
        blob = blob or scores_alone(layer, layer.bottoms[0])
        return Head(layer, blob, _maker(graph, node, blob, is_in_graph), add)
    loss = losses.read_loss(layer)
    blob = scores_alone(layer, loss.bottom)
    maker = _maker(graph, node, blob, is_in_graph)
    is_softmax = isinstance(maker, Node) and maker.type == "Softmax"
    add = None if kind.probabilities or is_softmax else "Softmax"
    axis = 1 if loss.params.axis is None else loss.params.axis
    return Head(layer, blob, maker, add, axis, (layer.tops + [None, None])[1])


def _maker(graph, node, blob, is_in_graph):
    """Return the maker in a graph of a blob that a loss gets, which may be of another phase."""
    if is_in_graph and blob in node.bottoms:
        return node.makers[node.bottoms.index(blob)]
    made = [other for other in graph.nodes if blob in other.tops]
    return made[-1] if made else None


def _check_known(layer, is_in_graph):
    """Raise ValueError for a loss of no known kind whose first bottom need not be all that the net is to give."""
    if layer.type in losses.ON_VALUES | losses.OTHER_ON_LABELS or _is_triplet_loss(layer):
        return
    if len(layer.bottoms) > 2 or not is_in_graph:
        raise ValueError("%s: expected a loss of a known kind, of which to tell what the net puts out, got %s with %d "
                         "bottoms%s; say which blobs are: --blob BLOB" % (
                             layer, to_display(losses.python_class(layer)[1] or layer.type), len(layer.bottoms),
                             "" if is_in_graph else " for TRAIN alone"))


def _is_triplet_loss(layer):
    return "triplet" in (losses.python_class(layer)[1] or layer.type).lower()


def _embedding(node):
    """Return the blob of embeddings of which a loss compares pairs or triplets, or None if it is another loss."""
    compared = node if _is_triplet_loss(node.layer) else _distance(node)
    if compared is None:
        return None
    blob, maker = compared.bottoms[0], compared.makers[0]
    if isinstance(maker, Node) and losses.python_class(maker.layer) == (MODULE, "TripletSelect"):
        return maker.bottoms[0]
    if isinstance(maker, Node) and maker.type == "Slice":  # embeddings of triplets, which one trunk has made
        made = origin(maker, 0)
        return made[0].tops[made[1]] if made else maker.bottoms[0]
    return blob


def _distance(node):
    """Return the node that takes the distance of two blobs where a loss is made of distances, or None."""
    is_reduced = False
    for _ in range(_MOST_LAYERS):
        node = node.makers[0] if node.makers else None
        if not isinstance(node, Node):
            return None
        if losses.python_class(node.layer) == (MODULE, "L2Distance"):
            return node
        if node.type == "Eltwise" and is_reduced:
            return node if node.layer.value_in("eltwise_param", "operation", "SUM") in ("SUM", 1) else None
        if node.type not in _ON_DISTANCES:
            return None
        is_reduced = is_reduced or node.type == "Reduction"
    return None
